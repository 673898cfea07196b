"""fit: train on the executors of Spark, one rank in each task of a barrier stage."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from hvd_train.config import RunConfig, toml
from hvd_train.data import is_url
from hvd_train.errors import ConfigError, HvdTrainError, MissingEnvironment, RankFailure
from hvd_train.runs import Report, RunDir, read_report, stage_of
from hvd_train.spark import gloo
from hvd_train.spark.conversion import to_dataset
from hvd_train.spark.endings import GO_ON, error_of
from hvd_train.spark.hub import Hub, Member
from hvd_train.spark.places import Place, located, places, tf_config
from hvd_train.spark.rank_task import GRACE_S, run_task
from hvd_train.spark.session import in_our_words, known_error, num_slots, session_of

Engine = Literal["horovod", "tensorflow"]
DATA_SUFFIX = ".data"
OTHERS_END_S = 5.0
"""How long the ranks have to end by themselves after one has failed."""


def fit(
    data: Any,
    config: RunConfig | None = None,
    *,
    num_proc: int,
    run_dir: str | Path,
    spark: Any = None,
    engine: Engine = "horovod",
    order_by: str | Sequence[str] = (),
    data_dir: str | Path | None = None,
    start_timeout_s: float = 120.0,
    verbose: bool = True,
) -> Report:
    """Train on the executors: one rank runs in each of `num_proc` tasks of a barrier stage.

        report = hvd_train.spark.fit(frame, spark=spark, num_proc=4, run_dir="/nfs/runs/songs", order_by="row")

    Of a run that is complete the report is returned. One that was begun goes on from its last checkpoint, with its own
    settings and its own dataset.

    Args:
        data: a DataFrame, or the path of a table or a dataset directory that all executors reach, or the URL of one.
        config: all settings; by default `RunConfig()`.
        num_proc: the number of ranks. As many task slots must be free at once.
        run_dir: where to write, in a place that the driver and all executors reach.
        spark: the session; by default the active one.
        engine: "horovod" needs Horovod on the driver and the executors, "tensorflow" needs nothing but hvd_train.
        order_by: the columns that put the rows of a DataFrame in an order; see `to_dataset`.
        data_dir: where the dataset of a DataFrame is written; by default beside `run_dir`, with .data after its name.
        start_timeout_s: seconds to wait for the slots and for the tasks.
        verbose: show what the ranks print, as it comes.

    Returns:
        The report: metrics and baselines by split, history, versions.

    Raises:
        UserError: for what you can correct: a table, a setting, a run directory.
        MissingEnvironment: for what the driver or an executor lacks.
        RankFailure: where a rank, its executor or its host died. All ranks have ended then.
        KeyboardInterrupt: on Ctrl-C. All ranks have ended then, too.
    """
    spark, config = session_of(spark), config or RunConfig()
    _require_possible(num_proc, engine)
    directory = RunDir(Path(run_dir).absolute())
    stage = stage_of(directory)
    if stage == "complete":
        return read_report(directory)
    _require_slots(spark, num_proc, start_timeout_s)
    directory.path.mkdir(parents=True, exist_ok=True)

    def tell(text: str, is_error: bool) -> None:
        if verbose:
            stream = sys.stderr if is_error else sys.stdout
            stream.write(text + "\n")
            stream.flush()

    place = _place_of(data, data_dir, directory)
    if not isinstance(data, str | Path) and not (stage == "begun" and _exists(place)):
        to_dataset(
            data, place, config, spark=spark, order_by=order_by, force=True, report=lambda text: tell(text, False)
        )
    job = Job(spark, config, directory, place, engine, num_proc, start_timeout_s, tell)
    job.run()
    return read_report(directory)


def _require_possible(num_proc: int, engine: str) -> None:
    if num_proc < 1:
        raise ConfigError(f"num_proc = {num_proc} is not possible: there is at least one rank.")
    if engine not in ("horovod", "tensorflow"):
        raise ConfigError(f'engine = {engine!r} is not possible: it is "horovod" or "tensorflow".')


def _require_slots(spark: Any, num_proc: int, limit_s: float) -> None:
    """Wait until so many tasks can run at once. Raises MissingEnvironment: Spark itself would wait for minutes."""
    if str(spark.conf.get("spark.dynamicAllocation.enabled", "false")).lower() == "true":
        raise MissingEnvironment(
            "Spark allocates executors dynamically here, which it does not do for a barrier stage. Start it with "
            f"--conf spark.dynamicAllocation.enabled=false and executors for {num_proc} tasks."
        )
    deadline = time.monotonic() + limit_s
    while (found := num_slots(spark)) < num_proc:
        if time.monotonic() > deadline:
            raise MissingEnvironment(
                f"num_proc = {num_proc}, but Spark has {found} task slots after {limit_s:g} s, and all ranks run at once. Ask for "
                "more executors or cores (--total-executor-cores, --num-executors, --executor-cores), or for fewer ranks."
            )
        time.sleep(0.5)


def _place_of(data: Any, data_dir: str | Path | None, run_dir: RunDir) -> str:
    if isinstance(data, str | Path):
        return located(data)
    return located(data_dir or run_dir.path.with_name(run_dir.path.name + DATA_SUFFIX))


def _exists(place: str) -> bool:
    return is_url(place) or (Path(place) / "metadata.json").exists()


class Job:
    """The stage of one `fit`, from its start to the end of every rank."""

    def __init__(
        self,
        spark: Any,
        config: RunConfig,
        run_dir: RunDir,
        place: str,
        engine: Engine,
        num_proc: int,
        start_timeout_s: float,
        tell: Callable[[str, bool], None],
    ) -> None:
        self.spark, self.engine, self.num_proc, self.limit_s = spark, engine, num_proc, start_timeout_s
        self.run_dir, self.place = run_dir, place
        if not is_url(place):
            config = config.replace(table={"path": Path(place)})
        self.config = toml.dumps(config)
        self.hub = Hub(spark.sparkContext.getConf().get("spark.driver.host"), tell)
        self.tag = f"hvd_train-{self.hub.token[:12]}"
        self.failure: BaseException | None = None
        self.rendezvous: gloo.Rendezvous | None = None

    def run(self) -> None:
        """Run all ranks to their end. Raises the error of the first that failed; no rank is left then."""
        from pyspark import InheritableThread

        thread = InheritableThread(target=self._stage)
        thread.daemon = True
        thread.start()
        try:
            with in_our_words("train"):
                self._begin(thread)
                self.hub.wait(lambda: self._is_over(thread), float("inf"))
                error = self._end(thread)
        except BaseException:
            self._end_all(thread)
            raise
        finally:
            self.hub.close()
            if self.rendezvous is not None:
                self.rendezvous.close()
        if error is not None:
            raise error

    def _stage(self) -> None:
        context, address, token, num_proc = self.spark.sparkContext, self.hub.address, self.hub.token, self.num_proc

        def be_a_rank(_: Iterator[Any]) -> Iterator[int]:
            from pyspark import BarrierTaskContext

            yield run_task(BarrierTaskContext.get().partitionId(), address, token)

        try:
            context.setJobDescription(f"hvd_train trains on {num_proc} ranks")
            if context.getLocalProperty("spark.jobGroup.id") is None:
                context.setJobGroup(self.tag, f"hvd_train trains on {num_proc} ranks", interruptOnCancel=True)
            context.addJobTag(self.tag)
            context.parallelize(range(num_proc), num_proc).barrier().mapPartitions(be_a_rank).collect()
        except BaseException as error:
            self.failure = error
        finally:
            with self.hub.changed:
                self.hub.changed.notify_all()

    def _begin(self, thread: threading.Thread) -> None:
        members = self.hub.members
        self.hub.wait(lambda: len(members) == self.num_proc or not thread.is_alive(), self.limit_s)
        if len(members) < self.num_proc:
            if self.failure is not None:
                raise self.failure
            raise MissingEnvironment(
                f"{len(members)} of {self.num_proc} tasks came to the driver at {self.hub.address[0]}:{self.hub.address[1]} within "
                f"{self.limit_s:g} s. Can the executors reach this address? spark.driver.host sets it."
            )
        found = places([member.arrival for member in members.values()])
        self._require_equipped(list(members.values()))
        if self.engine == "horovod" and self.num_proc > 1:
            self.rendezvous = gloo.Rendezvous(found)
        for place in found:
            members[place.task].place = place
            self.hub.start(members[place.task], self._order(place, found))

    def _require_equipped(self, members: list[Member]) -> None:
        needs = {"tensorflow": "TensorFlow"} | (
            {"horovod": "Horovod"} if self.engine == "horovod" and self.num_proc > 1 else {}
        )
        for member in members:
            for module, name in needs.items():
                if not member.arrival.facts[module]:
                    way_out = ', or use engine="tensorflow"' if module == "horovod" else ""
                    raise MissingEnvironment(
                        f"{name} is missing for the Python of the executor on host {member.arrival.host}. Install it there, or send an "
                        f"environment along (spark-submit --archives env.tar.gz#env){way_out}."
                    )

    def _order(self, place: Place, all_places: list[Place]) -> dict[str, Any]:
        arguments = ["--run-dir", str(self.run_dir.path), "--resume", "auto"]
        environment = {"PYTHONUNBUFFERED": "1"}
        if self.engine == "tensorflow" and self.num_proc > 1:
            arguments += ["--engine", "tensorflow"]
            environment["TF_CONFIG"] = tf_config(all_places, place)
        elif self.rendezvous is not None:
            environment |= gloo.variables(
                place,
                address="127.0.0.1" if place.interface == "lo" else self.hub.address[0],
                port=self.rendezvous.port,
            )
        return {
            "arguments": arguments,
            "environment": environment,
            "config": self.config,
            "fetch": self.place if is_url(self.place) else "",
            "must_see": [str(self.run_dir.path), *([] if is_url(self.place) else [self.place])],
        }

    def _is_over(self, thread: threading.Thread) -> bool:
        members = self.hub.members.values()
        return not thread.is_alive() or any(member.code for member in members) or not self.hub.running()

    def _end(self, thread: threading.Thread) -> HvdTrainError | None:
        """End what still runs; the error, if there is one."""
        members = list(self.hub.members.values())
        if any(member.code for member in members) or self.failure is not None:
            self.hub.wait(lambda: not self.hub.running(), OTHERS_END_S)
        failed = str(self.failure) if self.failure is not None else ""
        error = error_of(members, why_stage_failed=_cause(failed))
        if error is None and self.failure is not None:
            error = known_error(failed, "train") or RankFailure(f"Spark ended the ranks. {_cause(failed)} {GO_ON}")
        if "cancelled" in failed:
            error = RankFailure(f"The Spark job was cancelled. All ranks were ended. {GO_ON}")
        self._end_all(thread)
        return error

    def _end_all(self, thread: threading.Thread) -> None:
        """Ask the ranks to end, then cancel the stage, which kills them."""
        self.hub.stop()
        if self.hub.running():
            self.hub.wait(lambda: not self.hub.running(), GRACE_S + 2.0)
        self.hub.close()
        thread.join(2.0)
        if thread.is_alive():
            with contextlib.suppress(Exception):
                self.spark.sparkContext.cancelJobsWithTag(self.tag)
            thread.join(30.0)


def _cause(text: str) -> str:
    """The line of Spark's error that tells why the stage failed. Pure."""
    found = re.search(r"(ExecutorLostFailure[^\n]*|Job \d+ cancelled[^\n]*|Job aborted[^\n]*)", text)
    return found[1][:400] if found else ""
