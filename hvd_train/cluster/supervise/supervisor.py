"""The loop of the supervisor: start, wait, judge, and what comes next. `policy` decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hvd_train.cluster.supervise.allocation import Allocation, place, rank_count
from hvd_train.cluster.supervise.command import Launcher, launch, program
from hvd_train.cluster.supervise.continuing import Continuation, FollowUp
from hvd_train.cluster.supervise.hosts import HostCheck, is_here
from hvd_train.cluster.supervise.leftovers import variables
from hvd_train.cluster.supervise.limits import TimeLimit
from hvd_train.cluster.supervise.policy import Decision, Ended, Rules, decide
from hvd_train.cluster.supervise.record import Record
from hvd_train.cluster.supervise.surroundings import Ranks, Surroundings
from hvd_train.cluster.supervise.task import Task
from hvd_train.cluster.supervise.watch import STOPS, HowEnded, Patience, RankWatch
from hvd_train.cluster.supervise.words import last_line, starting
from hvd_train.errors import MissingEnvironment
from hvd_train.runs import lock_directory


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a run is supervised."""

    np: int | None = None
    min_ranks: int = 1
    launcher: Launcher = "mpirun"
    warn_s: float = 120.0
    time_limit_s: float | None = None
    rules: Rules = field(default_factory=Rules)
    patience: Patience = field(default_factory=Patience)


class Supervisor:
    """Supervises one run. `run` returns the exit code."""

    def __init__(
        self,
        task: Task,
        allocation: Allocation,
        options: Options,
        world: Surroundings,
        *,
        environment: Mapping[str, str],
        tell: Callable[[str], None],
        follow_up: FollowUp | None = None,
    ) -> None:
        self._task, self._allocation, self._options, self._world, self._tell = task, allocation, options, world, tell
        self._environment = environment
        self._record = Record(task.run_dir, allocation)
        self._continuation = Continuation(allocation, world, job_dir=task.run_dir.job, follow_up=follow_up, tell=tell)

    def run(self) -> int:
        """Train to the end, as far as that can be had. UserError where another supervisor has this run."""
        if self._task.done():
            self._tell(f"{self._task} is complete: there is nothing to do")
            return 0
        folder = self._task.run_dir.job.path
        with lock_directory(folder, what="The supervisor's directory", flag="--run-dir", notify=self._tell):
            return self._supervise()

    def _supervise(self) -> int:
        options, mark, agent = self._options, self._record.mark(), self._record.agent()
        self._hosts = HostCheck(self._allocation, self._world, agent=agent, mark=mark, tell=self._tell)
        self._limit = TimeLimit(
            self._allocation,
            self._world,
            self._record.events(),
            warn_s=options.warn_s,
            time_limit_s=options.time_limit_s,
            max_total_s=options.rules.max_total_time_s,
        )
        decision = self._to_the_end(agent, mark)
        self._hosts.clean()
        if decision.next == "continue":
            return self._continuation.go_on(list(self._hosts.excluded))
        return self._continuation.final(decision.code)

    def _to_the_end(self, agent: str, mark: str) -> Decision:
        """Start the ranks until that can help no more."""
        while True:
            placed = self._plan()
            decision = self._one_start(placed, agent, mark) if placed else self._too_few()
            self._tell(last_line(decision, self._task))
            if decision.next == "restart" and (number := self._pause(decision.delay_s)) is not None:
                decision = self._instead_of_a_restart(number)
                self._tell(last_line(decision, self._task))
            if decision.next != "restart":
                return decision

    def _plan(self) -> dict[str, int]:
        """Ranks on each host for the next start; empty where there are too few hosts."""
        hosts, options = self._hosts.available(self._fewest()), self._options
        slots = sum(host.slots for host in hosts)
        ranks = rank_count(slots, self._task.num_virtual_shards(slots), options.np)
        placed = place(hosts, ranks) if ranks >= self._fewest() else {}
        self._record.hosts(placed, self._hosts.excluded)
        return placed

    def _fewest(self) -> int:
        """The smallest number of ranks that may train. With a local batch size the number of ranks is part of the experiment."""
        before = [event.ranks for event in self._record.events() if event.event == "start"]
        same = before[0] if before and self._task.keeps_size else 1
        return max(self._options.min_ranks, same)

    def _too_few(self) -> Decision:
        """No start: too few hosts are left."""
        missing = "; ".join(f"{name}: {why}" for name, why in self._hosts.excluded.items())
        reason = f"too few hosts are left for {self._fewest()} ranks ({missing})"
        events = self._record.events()
        if not events:
            raise MissingEnvironment(f"{reason}.")
        can = self._continuation.possible and any(
            event.event == "end" and (event.epoch, event.step) > (0, 0) for event in events
        )
        return Decision("failed", reason, "continue" if can else "give-up", 1)

    def _one_start(self, placed: Mapping[str, int], agent: str, mark: str) -> Decision:
        position, oom_kills = self._task.position(), self._world.oom_kills()
        start = self._record.start(placed, position)
        self._tell(starting(start, self._task))
        ranks = self._start(placed, agent, mark)
        self._limit.refresh()
        watch = RankWatch(
            ranks,
            self._world,
            patience=self._options.patience,
            warn_at=self._limit.warn_at,
            done=self._task.done,
            tell=self._tell,
            ends_with=self._ends_with,
        )
        ended = self._judge(watch.wait(), position, ranks, oom_kills)
        self._last_ended = ended
        self._hosts.named(ranks.named, new_checkpoint=ended.new_checkpoint)
        decision = decide(
            ended,
            self._record.events(),
            self._options.rules,
            continues=self._continuation.possible and not self._limit.total_is_used_up,
            time_left_s=self._limit.left_s,
        )
        self._record.end(start, ended, decision)
        return decision

    def _start(self, placed: Mapping[str, int], agent: str, mark: str) -> Ranks:
        environment = {**self._environment, **variables(mark, self._environment)}
        alone = self._allocation.is_this_machine
        command = launch(
            self._options.launcher,
            placed,
            self._task.command(program()),
            environment,
            hostfile=None if alone else self._task.run_dir.job.hostfile,
            agent=agent,
        )
        return self._world.start(command, environment, local_ranks=self._sees_ranks(placed))

    def _sees_ranks(self, placed: Mapping[str, int]) -> bool:
        """Whether ranks of this host are below the launcher. Those of srun are below a daemon of Slurm."""
        return self._options.launcher != "srun" and any(map(is_here, placed))

    def _judge(self, how: HowEnded, position: tuple[int, int] | None, ranks: Ranks, oom_kills: int | None) -> Ended:
        after = self._world.oom_kills()
        return Ended(
            code=how.code,
            done=self._task.complete(how.code),
            started_from=position,
            reached=self._task.position(),
            warned=how.warned,
            stopped_by=how.stopped_by,
            memory=after is not None and oom_kills is not None and after > oom_kills,
            hung=how.hung,
            said=ranks.said,
        )

    @property
    def _ends_with(self) -> Sequence[int]:
        """Warnings of this job's scheduler that are no warning: another job must not go on."""
        scheduler = self._allocation.scheduler
        return () if scheduler is None else scheduler.ends_with

    def _pause(self, seconds: float) -> int | None:
        """Wait before a restart. The signal that keeps it from coming, if there is one."""
        self._tell(f"a restart follows in {seconds:g} s" if seconds else "a restart follows")
        deadline = self._world.now() + seconds
        while True:
            left = deadline - self._world.now()
            for number in self._world.wait(max(0.0, left)):
                return number
            if left <= 0:
                return None

    def _instead_of_a_restart(self, number: int) -> Decision:
        """A signal came in the pause."""
        if number in (*STOPS, *self._ends_with):
            return Decision("stopped", "stopped by a signal before the restart", "nothing", 128 + number)
        failed = self._last_ended
        rules, can = self._options.rules, self._continuation.possible
        return decide(failed, self._record.events()[:-1], rules, continues=can, time_left_s=0.0)
