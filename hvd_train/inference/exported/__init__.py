"""A finished run as a model for other programs: SavedModel, ONNX or LiteRT, with named inputs and outputs."""
