"""A standalone cluster of Spark on this machine: a master and two workers with one core and 1 GiB each."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import processes
import psutil

PROGRAMS = Path(__file__).parent / "programs"
START_S = 90.0
LIVES_S = 900.0
RANK = "hvd_train.cli.entry"


def why_not() -> str:
    """What is missing for a cluster, or ""."""
    if importlib.util.find_spec("pyspark") is None:
        return "pyspark is not installed: make spark installs it"
    if shutil.which("java") is None:
        return "Java is not installed (Debian: apt-get install openjdk-17-jre-headless)"
    return ""


def spark_home() -> Path:
    found = importlib.util.find_spec("pyspark")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def settings() -> dict[str, str | None]:
    """The environment of everything of Spark."""
    return {
        "SPARK_HOME": str(spark_home()),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYTHONWARNINGS": "ignore::FutureWarning",
    }


@dataclass(eq=False)
class Cluster:
    url: str
    jobs: list[processes.Job]

    def submit(self, program: Path, *arguments: object, conf: dict[str, str] | None = None) -> list[str | Path]:
        """The command that starts a program on the cluster."""
        conf = {
            "spark.driver.host": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.sql.shuffle.partitions": "4",
            **(conf or {}),
        }
        options = [word for name, value in conf.items() for word in ("--conf", f"{name}={value}")]
        memory = ["--driver-memory", "1g", "--executor-memory", "1g", "--executor-cores", "1"]
        submit = spark_home() / "bin" / "spark-submit"
        return [submit, "--master", self.url, *memory, *options, program, *map(str, arguments)]

    def processes(self, word: str) -> list[psutil.Process]:
        """What the workers have started whose command line holds this word."""
        found = []
        for job in self.jobs[1:]:
            for process in job.processes():
                try:
                    if word in " ".join(process.cmdline()):
                        found.append(process)
                except psutil.Error:
                    continue
        return found

    def ranks(self) -> list[psutil.Process]:
        return self.processes(RANK)

    def wait_for_ranks(self, number: int, limit_s: float = 20.0) -> list[psutil.Process]:
        deadline = time.monotonic() + limit_s
        while len(found := self.ranks()) != number:
            assert time.monotonic() < deadline, f"{len(found)} ranks after {limit_s} s"
            time.sleep(0.1)
        return found


@contextmanager
def cluster(folder: Path, *, num_workers: int = 2) -> Iterator[Cluster]:
    port = processes.free_port()
    url = f"spark://127.0.0.1:{port}"
    start = spark_home() / "bin" / "spark-class"
    common = {"timeout_s": LIVES_S, "env": settings(), "cwd": folder}
    with ExitStack() as stack:
        master = [
            "org.apache.spark.deploy.master.Master",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--webui-port",
            "0",
        ]
        jobs = [stack.enter_context(processes.started([start, *master], **common))]  # type: ignore[arg-type]
        jobs[0].wait_for("New state: ALIVE", START_S)
        for number in range(num_workers):
            place = folder / f"worker-{number}"
            worker = [
                "org.apache.spark.deploy.worker.Worker",
                "-c",
                "1",
                "-m",
                "1g",
                "--webui-port",
                "0",
                "--work-dir",
                place,
                url,
            ]
            jobs.append(stack.enter_context(processes.started([start, *worker], **common)))  # type: ignore[arg-type]
        for job in jobs[1:]:
            job.wait_for("Successfully registered", START_S)
        yield Cluster(url, jobs)


def submitted(
    spark: Cluster, program: str, *arguments: object, timeout_s: float = 240.0, **conf: str
) -> processes.Finished:
    """Run a program of tests/spark/programs to its end."""
    return processes.run(
        spark.submit(PROGRAMS / program, *arguments, conf=conf), timeout_s=timeout_s, env=settings(), cwd=PROGRAMS
    )
