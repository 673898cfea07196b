"""hvd-train supervise with a launcher that is only played: `python supervise_fake.py PLAN hvd-train's arguments...`.

PLAN is a file with what each start does, one a line, of which each start takes the first. As a launcher this program is
called `python supervise_fake.py --launcher PLAN -np N hvd-train train ... --run-dir RUN`.

    end CODE            end with CODE
    checkpoint E S CODE write a checkpoint, then end with CODE
    done                complete the run, and end with 0
    save E S            wait for SIGUSR1, write a checkpoint, end with 85
    deaf                ignore SIGUSR1 and SIGTERM
    linger              a rank that ends at once, and a launcher that stays
    idle                a launcher that never has a rank
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SECONDS = {
    "save_s": 10.0,
    "deaf_s": 0.0,
    "stop_s": 5.0,
    "end_s": 2.0,
    "begin_s": float(os.environ.get("BEGIN_S", "60")),
    "linger_s": 1.5,
}


def launcher(plan: Path, argv: list[str]) -> int:
    run_dir = Path(argv[argv.index("--run-dir") + 1])
    first, *rest = plan.read_text().splitlines()
    plan.write_text("\n".join(rest))
    what, *numbers = first.split()
    print(f"the launcher plays {first}", flush=True)
    if what == "end":
        print(f"{'-' * 70}\nPrimary job  terminated normally, but 1 process returned\n{'-' * 70}", file=sys.stderr)
        return int(numbers[0])
    if what == "checkpoint":
        checkpoint(run_dir, int(numbers[0]), int(numbers[1]))
        return int(numbers[2])
    if what == "done":
        (run_dir / "DONE").touch()
        return 0
    program = next(part for part in argv if part.endswith("/hvd-train"))
    rank = [sys.executable, "-c", "import sys, time; time.sleep(float(sys.argv[2]))", program]
    if what == "save":
        with subprocess.Popen([*rank, "1000"]) as process:  # a warning waits until there is a rank
            signal.sigwait({signal.SIGUSR1})
            process.kill()
        checkpoint(run_dir, int(numbers[0]), int(numbers[1]))
        return 85
    if what == "deaf":
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if what == "linger":
        subprocess.run([*rank, "2.5"], check=True)
    time.sleep(1000)
    return 1


def checkpoint(run_dir: Path, epoch: int, step: int) -> None:
    note = json.dumps({"progress": {"epoch": epoch, "step": step}}).encode()
    (run_dir / "checkpoints").mkdir(exist_ok=True)
    with (run_dir / "checkpoints" / "last.npz").open("wb") as file:
        np.savez(file, note=np.frombuffer(note, dtype=np.uint8))


def main() -> int:
    from hvd_train.cli import verbs
    from hvd_train.cluster.supervise.watch import Patience
    from hvd_train.processes import jobs

    plan = sys.argv[1]

    def played(np: int, command: list[str], *, hostfile: Path | None = None) -> list[str]:
        return [sys.executable, __file__, "--launcher", plan, "-np", str(np), *command]

    jobs.mpirun = played  # type: ignore[assignment]
    Patience.__init__.__kwdefaults__.update(SECONDS)
    return verbs.main(sys.argv[2:])


if __name__ == "__main__":
    # The launcher must be able to wait for a signal that comes before it is asked.
    if sys.argv[1] == "--launcher":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1} if "save" in Path(sys.argv[2]).read_text() else ())
        sys.exit(launcher(Path(sys.argv[2]), sys.argv[3:]))
    sys.exit(main())
