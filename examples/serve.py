"""Serve an exported run over HTTP. Needs neither TensorFlow nor hvd_train: pip install fastapi uvicorn onnxruntime numpy

python examples/serve.py songs-onnx/model.onnx 8000
"""

import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, HTTPException

session = onnxruntime.InferenceSession(sys.argv[1])
names = [output.name for output in session.get_outputs()]
app = FastAPI()


@app.post("/predict")
def predict(rows: list[list[float | None]]) -> dict[str, list]:  # null is a missing cell
    if {len(row) for row in rows} != {session.get_inputs()[0].shape[1]}:
        raise HTTPException(422, f"each row has {session.get_inputs()[0].shape[1]} numbers")
    outputs = session.run(None, {"rows": np.array(rows, np.float32)})
    return {name: values.tolist() for name, values in zip(names, outputs, strict=True)}


uvicorn.run(app, port=int(sys.argv[2]))
