"""One barrier task: it starts a rank as a process of its own, and sends what that writes to the driver. Runs on an executor.

The rank ends with the task, however that ends: the kernel kills it when this process dies (Linux), and it is ended when
the driver does not answer any more.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

import hvd_train
from hvd_train.errors import MissingEnvironment

CONNECT_S = 30.0
GRACE_S = 15.0
"""Between the request to end and the kill. A rank saves nothing then that its last checkpoint does not hold."""
HEARD_S = 5.0
PR_SET_PDEATHSIG = 1
LONGEST_LINE = 64 * 1024
# Spark sets it to the cores of an executor for its own Python; a rank chooses its threads itself.
NOT_OURS = ("OMP_NUM_THREADS", "SPARK_AUTH_SOCKET_TIMEOUT", "PYTHON_WORKER_FACTORY_SECRET")


class Line:
    """The connection to the driver: a JSON document a line, in both directions."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=CONNECT_S)
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._reader = self._socket.makefile("r", encoding="utf-8")
        self._lock = threading.Lock()
        self.own_ip = str(self._socket.getsockname()[0])

    def send(self, **document: Any) -> None:
        """Send, or do nothing where nobody listens."""
        with self._lock, contextlib.suppress(OSError):
            self._socket.sendall(json.dumps(document).encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """The next document; None at the end."""
        try:
            text = self._reader.readline()
            return dict(json.loads(text)) if text else None
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with contextlib.suppress(OSError):
            self._reader.close()


def run_task(task: int, address: tuple[str, int], token: str) -> int:
    """Be one rank. Returns its exit code, also where the driver wants none."""
    line = Line(address)
    try:
        with socket.socket() as held:
            held.bind(("", 0))
            port = held.getsockname()[1]
            line.send(token=token, task=task, port=port, ip=line.own_ip, **facts(line.own_ip))
            order = line.receive()
        if order is None or "start" not in order:
            return 0
        return _run(order["start"], line)
    finally:
        line.close()


def facts(ip: str) -> dict[str, Any]:
    """What the driver wants to know of this place."""
    interface = next(
        (name for name, known in psutil.net_if_addrs().items() if any(one.address == ip for one in known)), "lo"
    )
    return {
        "host": socket.gethostname(),
        "interface": interface,
        "facts": {
            "python": platform.python_version(),
            "hvd_train": hvd_train.__version__,
            "tensorflow": importlib.util.find_spec("tensorflow") is not None,
            "horovod": importlib.util.find_spec("horovod") is not None,
            "pid": os.getpid(),
        },
    }


def _run(order: dict[str, Any], line: Line) -> int:
    for path in order["must_see"]:
        if not os.path.exists(path):
            line.send(unseen=path)
            line.send(exit=MissingEnvironment.exit_code)
            line.receive()
            return MissingEnvironment.exit_code
    with tempfile.TemporaryDirectory(prefix="hvd_train-") as scratch:
        arguments = list(order["arguments"])
        if order["fetch"]:
            from hvd_train.spark.fetching import fetch

            arguments += ["--data", str(fetch(order["fetch"]))]
        config = Path(scratch) / "config.toml"
        config.write_text(order["config"], encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "hvd_train.cli.entry", "train", "--config", str(config), *arguments],
            env={name: value for name, value in os.environ.items() if name not in NOT_OURS} | order["environment"],
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_dies_with(os.getpid()),
        )
        line.send(pid=process.pid)
        readers = [
            threading.Thread(target=_pass_on, args=(stream, kind, line), daemon=True)
            for stream, kind in ((process.stdout, "out"), (process.stderr, "err"))
        ]
        listener = threading.Thread(target=_obey, args=(line, process), daemon=True)
        for thread in (*readers, listener):
            thread.start()
        code = process.wait()
        for thread in readers:
            thread.join(2.0)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        line.send(exit=code)
        listener.join(HEARD_S)  # until the driver has heard it, so that this connection's end is no loss
        return code


def _dies_with(parent: int) -> Callable[[], None] | None:
    """What the child does before it runs, so that it dies with this process; the main thread must be the one that forks."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def _pass_on(stream: Any, kind: str, line: Line) -> None:
    for text in iter(lambda: stream.readline(LONGEST_LINE), b""):
        line.send(**{kind: text.decode("utf-8", errors="replace").rstrip("\n")})


def _obey(line: Line, process: subprocess.Popen[bytes]) -> None:
    """End the rank when the driver says so, or is gone."""
    order = line.receive()
    if process.poll() is not None:
        return
    grace_s = GRACE_S if order is not None else 1.0
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 0.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + wait_s
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
