"""What the commands of fake_schedulers.py do: one function for all that submit, one for all that show, one for all that end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ARRAY = {
    "slurm": r"#SBATCH --array=(\d+)-(\d+)",
    "pbs": r"#PBS -J (\d+)-(\d+)",
    "sge": r"#\$ -t (\d+)-(\d+)",
    "lsf": r'#BSUB -J "[^"\[]+\[(\d+)-(\d+)\]',
}
LISTED = ("pending", "running", "ending")
WORDS: Mapping[str, tuple[str, ...]] = {  # pending, running, ending
    "slurm": ("PENDING", "RUNNING", "COMPLETING"),
    "pbs": ("Q", "R", "E"),
    "lsf": ("PEND", "RUN", "ZOMBI"),
}


class Call(NamedTuple):
    """One call of a command."""

    name: str
    arguments: list[str]
    stdin: str
    directory: str
    time: float


@contextlib.contextmanager
def state(folder: Path) -> Iterator[dict[str, Any]]:
    """The memory of a cluster, for one process at a time; changes are kept."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = folder / "state.json"
        memory = json.loads(file.read_text()) if file.exists() else {"next": 101, "jobs": {}, "faults": {}}
        yield memory
        file.write_text(json.dumps(memory))


def act(folder: str, scheduler: str, name: str) -> None:
    """One call of a command."""
    arguments = sys.argv[1:]
    stdin = sys.stdin.read() if name == "bsub" else ""
    with state(Path(folder)) as memory:
        call = Call(name, arguments, stdin, os.getcwd(), time.time())
        with (Path(folder) / "calls.jsonl").open("a") as file:
            file.write(json.dumps(call._asdict()) + "\n")
        fault = memory["faults"].get(name)
        if fault and fault["times"] > 0:
            fault["times"] -= 1
        else:
            fault = None
    if fault:
        time.sleep(fault["seconds"])
        if fault["refuse"]:
            print(fault["refuse"], file=sys.stderr)
            sys.exit(fault["code"])
        if fault["say"] is not None:
            print(fault["say"])
            sys.exit(0)
    with state(Path(folder)) as memory:
        memory["scheduler"] = scheduler
        signals: list[tuple[int, int]] = []
        code = HANDLERS[name](scheduler, memory, call, signals)
    for pid, number in signals:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    sys.exit(code)


def submit(scheduler: str, memory: dict[str, Any], call: Call, signals: list[tuple[int, int]]) -> int:
    if call.name == "bsub":
        script = call.stdin
    else:
        try:
            script = Path(call.arguments[-1]).read_text()
        except (OSError, IndexError) as error:
            print(f"{call.name}: error: Unable to open file ({error})", file=sys.stderr)
            return 1
    number = str(memory["next"])
    memory["next"] += 1
    array = re.search(ARRAY[scheduler], script)
    ids = [f"{number}_{task}" for task in range(int(array[1]), int(array[2]) + 1)] if array else [number]
    held = any("after" in word or word in ("-hold_jid", "-w") for word in call.arguments[:-1] or call.arguments)
    for job_id in ids:
        memory["jobs"][job_id] = {
            "state": "pending", "reason": "Dependency" if held else "Resources", "script": script, "restarts": 0,
            "pid": None, "limit_s": 3600, "started": None, "options": call.arguments,
        }  # fmt: skip
    tasks = f".{array[1]}-{array[2]}:1" if array else ""
    print(
        {
            "slurm": number,
            "pbs": f"{number}[].head" if array else f"{number}.head",
            "sge": f"{number}{tasks}",
            "lsf": f"Job <{number}> is submitted to default queue <normal>.",
        }[scheduler]
    )
    return 0


def named(memory: dict[str, Any], arguments: list[str]) -> list[str]:
    """The jobs that the arguments name: 123, 123_4, 123[4], 123 -t 4, --jobs=123, or a whole array."""
    text = " ".join(arguments)
    found = re.search(r"(?<![\w.-])(?:--jobs=)?(\d+)(?:_(\d+)|\[(\d+)\]| -t (\d+))?(?:\[\])?(?:\.head)?(?:$| )", text)
    if not found:
        return []
    task = found[2] or found[3] or found[4]
    wanted = f"{found[1]}_{task}" if task else found[1]
    whole = not task and (memory["scheduler"] != "pbs" or "[]" in text)
    return [job_id for job_id in memory["jobs"] if job_id == wanted or (whole and job_id.startswith(f"{wanted}_"))]


def unknown(scheduler: str, call: Call) -> int:
    given = call.arguments[-1] if call.arguments else ""
    texts = {
        "slurm": "slurm_load_jobs error: Invalid job id specified",
        "pbs": f"{call.name}: Unknown Job Id {given}.head",
        "sge": f"Following jobs do not exist: \n{given}"
        if call.name == "qstat"
        else f'denied: job "{given}" does not exist',
        "lsf": f"Job <{given}> is not found",
    }
    print(texts[scheduler], file=sys.stderr)
    return 153 if scheduler == "pbs" else 255 if scheduler == "lsf" else 1


def show(scheduler: str, memory: dict[str, Any], call: Call, signals: list[tuple[int, int]]) -> int:
    """squeue, qstat and bjobs."""
    if call.name == "qstat" and "-g" in call.arguments:
        listed = [(job_id, job) for job_id, job in memory["jobs"].items() if job["state"] in LISTED]
        print("<?xml version='1.0'?>\n<job_info>\n" + "".join(sge_entry(*one) for one in listed) + "</job_info>")
        return 0
    ids = named(memory, call.arguments)
    listed = [(job_id, memory["jobs"][job_id]) for job_id in ids if memory["jobs"][job_id]["state"] in LISTED]
    if not ids or (not listed and scheduler in ("pbs", "sge")):
        return unknown(scheduler, call)
    if scheduler == "sge":
        print(sge_answer(listed))
    elif scheduler == "pbs":
        print(pbs_answer(call.arguments[-1], [job for _, job in listed]))
    else:
        for _, job in listed:
            left = int(job["limit_s"] - (time.time() - job["started"] if job["started"] else 0))
            word = WORDS[scheduler][LISTED.index(job["state"])]
            reason = job["reason"] if job["state"] == "pending" else "None"
            hours = f"{left // 3600}:{left // 60 % 60:02d}"
            if scheduler == "slurm":
                print(f"{hours}:{left % 60:02d}" if "--format=%L" in call.arguments else f"{word} {reason}")
            else:
                print(f"{hours} L" if "time_left" in call.arguments else f"{word}|{reason}")
    return 0


def pbs_answer(given: str, jobs: list[dict[str, Any]]) -> str:
    """As `qstat -f` prints it, of a whole array in one piece."""
    state = min((job["state"] for job in jobs), key=["running", "pending", "ending"].index)
    word = "B" if "[]" in given and state == "running" else WORDS["pbs"][LISTED.index(state)]
    limit = jobs[0]["limit_s"]
    started = next((job["started"] for job in jobs if job["started"]), None)
    return (
        f"Job Id: {given}.head\n    Job_Name = songs\n    job_state = {word}\n"
        f"    Resource_List.walltime = {limit // 3600:02d}:{limit // 60 % 60:02d}:00\n"
        + (f"    stime = {time.ctime(started)}\n" if started else f"    comment = Not Running: {jobs[0]['reason']}\n")
    )


def sge_entry(job_id: str, job: dict[str, Any]) -> str:
    """A task as `qstat -xml -g d` lists it."""
    number, _, task = job_id.partition("_")
    state = {"pending": "hqw" if job["reason"] == "Dependency" else "qw", "running": "r", "ending": "dr"}[job["state"]]
    tasks = f"<tasks>{task}</tasks>" if task else ""
    return (
        f'  <job_list state="{"pending" if "q" in state else "running"}">\n    <JB_job_number>{number}</JB_job_number>\n'
        f"    <JB_name>songs</JB_name>\n    <state>{state}</state>\n    {tasks}\n  </job_list>\n"
    )


def sge_answer(listed: list[tuple[str, dict[str, Any]]]) -> str:
    """As `qstat -xml -j` prints it, without what nobody reads."""
    tasks = "".join(
        f"<ulong_sublist><JAT_status>128</JAT_status><JAT_task_number>{job_id.partition('_')[2] or 1}</JAT_task_number>"
        f"<JAT_start_time>{int(job['started'])}</JAT_start_time></ulong_sublist>"
        for job_id, job in listed
        if job["started"]
    )
    first_id, first = listed[0]
    return (
        "<?xml version='1.0'?>\n<detailed_job_info><djob_info><element>"
        f"<JB_job_number>{first_id.partition('_')[0]}</JB_job_number><JB_hard_resource_list><qstat_l_requests>"
        f"<CE_name>h_rt</CE_name><CE_valtype>3</CE_valtype><CE_stringval>{first['limit_s']}</CE_stringval>"
        f"</qstat_l_requests></JB_hard_resource_list><JB_ja_tasks>{tasks}</JB_ja_tasks></element></djob_info></detailed_job_info>"
    )


def cancel(scheduler: str, memory: dict[str, Any], call: Call, signals: list[tuple[int, int]]) -> int:
    """scancel, qdel, qsig, bkill, scontrol requeue and brequeue."""
    ids = [job_id for job_id in named(memory, call.arguments) if memory["jobs"][job_id]["state"] in LISTED]
    if not ids:
        return unknown(scheduler, call)
    warning = "USR1" in " ".join(call.arguments)
    for job in (memory["jobs"][job_id] for job_id in ids):
        if job["pid"]:
            signals.append((job["pid"], signal.SIGUSR1 if warning else signal.SIGTERM))
        if "requeue" in (call.name, *call.arguments) or call.name == "brequeue":
            job.update(state="pending", reason="BeginTime", restarts=job["restarts"] + 1, pid=None, started=None)
        elif not warning:
            job.update(state="gone")
    return 0


def nothing(scheduler: str, memory: dict[str, Any], call: Call, signals: list[tuple[int, int]]) -> int:
    return 0


HANDLERS: Mapping[str, Callable[[str, dict[str, Any], Call, list[tuple[int, int]]], int]] = {
    **dict.fromkeys(("sbatch", "qsub", "bsub"), submit),
    **dict.fromkeys(("squeue", "qstat", "bjobs"), show),
    **dict.fromkeys(("scancel", "qdel", "qsig", "bkill", "scontrol", "brequeue"), cancel),
    **dict.fromkeys(("pbsnodes", "qconf"), nothing),
}
