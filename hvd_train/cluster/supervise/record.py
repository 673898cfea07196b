"""What the supervisor writes into RUN/job: the history, the hosts of the last start, and those that were left out."""

from __future__ import annotations

import contextlib
import datetime
import os
import time
import uuid
from collections.abc import Mapping

from hvd_train.cluster.supervise.allocation import Allocation
from hvd_train.cluster.supervise.policy import Decision, Ended
from hvd_train.files import write_text
from hvd_train.hostfiles import Host, forms
from hvd_train.runs import RunDir, job_history


class Record:
    """RUN/job of one run."""

    def __init__(self, run_dir: RunDir, allocation: Allocation) -> None:
        self._run_dir, self._job, self._allocation = run_dir, run_dir.job, allocation

    def events(self) -> tuple[job_history.Event, ...]:
        return job_history.read(self._job.history)

    def mark(self) -> str:
        """What all processes of this run carry in their environment, whatever supervisor started them."""
        with contextlib.suppress(OSError):
            if found := self._job.mark.read_text().strip():
                return found
        mark = uuid.uuid4().hex
        write_text(self._job.mark, mark + "\n")
        return mark

    def agent(self) -> str:
        """The command with which the launcher reaches other hosts; its script is written. Empty where its own way works."""
        agent = self._allocation.agent
        if agent is None:
            return ""
        if agent.script:
            write_text(self._job.agent, agent.script)
            os.chmod(self._job.agent, 0o755)
        return agent.command.replace("{script}", str(self._job.agent.resolve()))

    def hosts(self, placed: Mapping[str, int], excluded: Mapping[str, str]) -> None:
        """The hostfile of a start, and which hosts it leaves out."""
        hosts = {str(host): host for host in self._allocation.hosts}
        used = [Host(hosts[name].name, ranks, user=hosts[name].user) for name, ranks in placed.items()]
        if used:
            write_text(self._job.hostfile, forms.write_hostfile(used, launcher="mpirun"))
        if excluded:
            write_text(self._job.excluded, "".join(f"{name}  # {why}\n" for name, why in excluded.items()))
        else:
            self._job.excluded.unlink(missing_ok=True)

    def start(self, placed: Mapping[str, int], position: tuple[int, int] | None) -> job_history.Start:
        """Write that the ranks are being started."""
        job = self._allocation.job
        epoch, step = position or (0, 0)
        start = job_history.Start(
            number=1 + max((event.number for event in self.events()), default=0),
            hosts=dict(placed),
            ranks=sum(placed.values()),
            epoch=epoch,
            step=step,
            scheduler=job.scheduler if job else "",
            job=job.id if job else "",
        )
        job_history.append(self._job.history, start)
        return start

    def end(self, start: job_history.Start, ended: Ended, decision: Decision) -> None:
        """Write how that start ended and what comes next."""
        epoch, step = ended.reached or (0, 0)
        lost_s = 0.0 if ended.done else self._since_checkpoint(start)
        job_history.append(
            self._job.history,
            job_history.End(
                number=start.number,
                code=ended.code,
                outcome=decision.outcome,
                reason=decision.reason,
                next=decision.next,
                epoch=epoch,
                step=step,
                lost_s=round(lost_s, 3),
            ),
        )

    def _since_checkpoint(self, start: job_history.Start) -> float:
        """Seconds since the newest checkpoint, or since the start where that made none."""
        began = datetime.datetime.fromisoformat(start.time).timestamp()
        with contextlib.suppress(OSError):
            began = max(began, self._run_dir.last.stat().st_mtime)
        return max(0.0, time.time() - began)
