"""A job's spec, its script, and how it gets into a queue; with programs on PATH that stand for those of a scheduler."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hvd_train.cluster import JobSpec, follow_up
from hvd_train.cluster.commands import LIMIT_VARIABLE, SchedulerSilent
from hvd_train.cluster.submit import queue
from hvd_train.cluster.submit.script import OPEN_MPI, environment
from hvd_train.cluster.submit.spec import Task
from hvd_train.errors import MissingEnvironment, UserError
from hvd_train.schedulers.job import Resources

MPI_ENV = Path(__file__).resolve().parents[3] / "scripts" / "mpi.env"


def spec(**changes: object) -> JobSpec:
    given = {
        "scheduler": "slurm",
        "resources": Resources(name="songs", num_hosts=2, ranks_per_host=2, time_limit_s=7200),
        "working_directory": "/home/ada/my songs",
        "programs": "/opt/hvd/bin",
        "environment": {"PYTHONUNBUFFERED": "1"},
        "run_dir": "runs/songs-{job}",
        "flags": ("--data", "it's $HOME.csv"),
        "supervise": ("--np", "4"),
        "setup": ("module load gcc",),
    }
    return JobSpec(**{**given, **changes})  # type: ignore[arg-type]


def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> JobSpec:
    """A spec for a directory of this test, and a program sbatch that does `body`."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "sbatch").write_text(f"#!/bin/bash\n{body}\n")
    (programs / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    (tmp_path / "work").mkdir()
    return spec(working_directory=str(tmp_path / "work"))


@pytest.mark.parametrize(
    "one",
    [
        spec(),
        spec(tasks=(Task(flags=("--seed", "1")), Task(flags=("--seed", "2"), run_dir="runs/a"))),
        spec(resources=Resources(name="x", num_hosts=1, ranks_per_host=1, time_limit_s=60, memory_mb_per_rank=2000)),
    ],
)
def test_a_spec_is_read_back_as_it_was_written(one: JobSpec, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(one.dumps())
    assert JobSpec.load(tmp_path / "job.toml") == one


@pytest.mark.parametrize("text", ["", "format = 1", "format = 2", "[", "format = 1\nscheduler = 3"])
def test_a_spec_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(text)
    with pytest.raises(UserError, match=r"job\.toml"):
        JobSpec.load(tmp_path / "job.toml")
    with pytest.raises(UserError, match="not submitted with hvd-train submit"):
        JobSpec.load(tmp_path / "other.toml")


def test_the_script_says_all_that_the_job_does() -> None:
    submission = queue.prepare(spec())
    directives, _, body = submission.script.partition("\n\n")
    assert directives.startswith("#!/bin/bash\n#SBATCH --job-name=songs\n#SBATCH --nodes=2")
    assert "--output=" in directives
    assert "/home/ada/my songs/runs/songs-%j.log" in directives
    assert body == (
        "cd '/home/ada/my songs' || exit 3\n"
        "module load gcc\n"
        'export PATH=/opt/hvd/bin:"$PATH"\n'
        "export PYTHONUNBUFFERED=1\n"
        "exec hvd-train supervise --np 4 \\\n"
        "    -- train --data 'it'\"'\"'s $HOME.csv' --run-dir 'runs/songs-{job}'\n"
    )


def test_each_task_of_an_array_has_its_flags(tmp_path: Path) -> None:
    """The body really runs, with a program in the place of hvd-train that prints what it was called with."""
    (tmp_path / "hvd-train").write_text('#!/bin/bash\nprintf "[%s]" "$@"\n')
    (tmp_path / "hvd-train").chmod(0o755)
    tasks = (Task(flags=("--seed", "1")), Task(flags=("--label", "a b"), run_dir="runs/it's"))
    given = spec(tasks=tasks, working_directory=str(tmp_path), programs=str(tmp_path), setup=(), flags=())
    script = queue.prepare(given).script
    printed = []
    for task in ("0", "1", "2"):
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": task}
        ended = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)
        printed.append(ended.stdout or f"{ended.returncode} {ended.stderr}")
    assert printed[0] == "[supervise][--np][4][--][train][--seed][1][--run-dir][]"
    assert printed[1] == "[supervise][--np][4][--][train][--label][a b][--run-dir][runs/it's]"
    assert printed[2].startswith("2 error: SLURM_ARRAY_TASK_ID is '2'")


def test_the_settings_of_open_mpi_are_those_of_mpi_env() -> None:
    lines = [line for line in MPI_ENV.read_text().splitlines() if line and not line.startswith("#")]
    known = dict(line.split("=", 1) for line in lines)
    assert {key: value for key, value in known.items() if "RUN_AS_ROOT" not in key and "oversub" not in key} == OPEN_MPI
    assert environment().items() >= OPEN_MPI.items()


def test_submitting_writes_what_is_needed_to_submit_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = sbatch(tmp_path, monkeypatch, f'cat "${{@: -1}}" >{tmp_path}/got; echo "$@" >>{tmp_path}/asked; echo 41')
    submission = queue.prepare(given)
    assert not (tmp_path / "work" / "runs").exists()
    submitted = queue.submit(submission)
    run_dir = tmp_path / "work" / "runs" / "songs-41"
    assert submitted.id == "41"
    assert submitted.runs == (run_dir,)
    assert submitted.logs == (f"{run_dir}.log",)
    assert (tmp_path / "got").read_text() == submission.script == (run_dir / "job" / "script").read_text()
    assert (tmp_path / "asked").read_text() == " ".join(submission.command[1:]) + "\n"
    assert JobSpec.load(run_dir / "job" / "job.toml").run_dir == "runs/songs-41"
    assert sorted(path.name for path in (tmp_path / "work" / "runs").iterdir()) == ["songs-41"]

    monkeypatch.setattr(
        "hvd_train.schedulers.slurm.Slurm.after_option", lambda _, job: [f"--dependency=afterany:{job}"]
    )
    assert follow_up(run_dir, "41") == "41"
    assert (tmp_path / "asked").read_text().splitlines()[1].startswith("--dependency=afterany:41 --parsable")
    assert "--run-dir runs/songs-41\n" in (tmp_path / "got").read_text()
    assert (run_dir / "job" / "id").read_text() == "41\n41\n"
    assert (run_dir / "job" / "logs").read_text() == f"{run_dir}.log\n{run_dir}-41.log\n"


def test_each_task_of_an_array_has_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = sbatch(tmp_path, monkeypatch, "echo 41")
    tasks = (Task(flags=("--seed", "1")), Task(flags=("--seed", "2")))
    submitted = queue.submit(queue.prepare(spec(tasks=tasks, working_directory=given.working_directory)))
    assert [run.name for run in submitted.runs] == ["songs-41_0", "songs-41_1"]
    again = JobSpec.load(submitted.runs[1] / "job" / "job.toml")
    assert again.flags == (*given.flags, "--seed", "2")
    assert (again.tasks, again.run_dir, again.resources) == ((), "runs/songs-41_1", given.resources)
    assert (submitted.runs[1] / "job" / "id").read_text() == "41_1\n"


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (
            "echo 'invalid partition: gpu' >&2; exit 1",
            UserError,
            r"sbatch refused \(exit code 1\).*: invalid partition: gpu\.",
        ),
        ("echo Welcome to the cluster", UserError, "no job id.*Welcome to the cluster"),
        ("true", UserError, "no job id"),
        ("echo thinking; sleep 30 & wait", SchedulerSilent, "did not end within 0.5 s.*thinking"),
        ("kill -9 $$", UserError, r"sbatch refused \(exit code -9\)"),
    ],
)
def test_a_scheduler_that_does_not_take_the_job_leaves_nothing_behind(
    body: str, kind: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = sbatch(tmp_path, monkeypatch, body)
    monkeypatch.setenv(LIMIT_VARIABLE, "0.5")
    with pytest.raises(kind, match=message):
        queue.submit(queue.prepare(given))
    assert list((tmp_path / "work").iterdir()) == []


def test_a_missing_scheduler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingEnvironment, match=r"sbatch cannot be started \(No such file"):
        queue.submit(queue.prepare(spec(working_directory=str(tmp_path))))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(LIMIT_VARIABLE, "soon")
    with pytest.raises(UserError, match=f"{LIMIT_VARIABLE} = 'soon'"):
        queue.submit(queue.prepare(spec(working_directory=str(tmp_path))))
