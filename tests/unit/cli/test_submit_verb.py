"""hvd-train submit through the command line: what it refuses, what it prints, and that --dry-run prints what is submitted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hvd_train.cli import main
from hvd_train.cluster import Settings, of_site, read_sweep
from hvd_train.cluster.submit import checks
from hvd_train.cluster.submit.settings import site_files
from hvd_train.errors import ConfigError, UserError

PROGRAMS = {
    "slurm": ("sbatch", "squeue"),
    "pbs": ("qsub", "pbsnodes"),
    "sge": ("qsub", "qconf"),
    "lsf": ("bsub", "bjobs"),
}
IDS = {"slurm": "71", "pbs": "71.server", "sge": "71", "lsf": "Job <71> is submitted to queue <normal>."}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without site.toml, a home without one, and a PATH without schedulers."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    return tmp_path


def installed(tmp_path: Path, flag: str) -> None:
    """Programs that keep what they were called with and what they read, and print an id."""
    (tmp_path / "programs").mkdir()
    for name in PROGRAMS[flag]:
        program = tmp_path / "programs" / name
        program.write_text(
            f"""#!/bin/bash
            PATH=/usr/bin:/bin
            echo "{name} $*" >{tmp_path}/called
            if [ $# -gt 0 ] && [ -f "${{@: -1}}" ]; then cat "${{@: -1}}" >{tmp_path}/got; else cat >{tmp_path}/got; fi
            echo "{IDS[flag]}"
            """
        )
        program.chmod(0o755)


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What is printed where nothing may be submitted."""
    assert main(["submit", *argv]) == 2
    assert list(Path().iterdir()) == [path for path in Path().iterdir() if path.suffix == ".toml"]
    return capsys.readouterr().err


@pytest.mark.parametrize("flag", PROGRAMS)
def test_what_a_dry_run_prints_is_submitted(flag: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    installed(place, flag)
    given = ["--nodes", "2", "--ranks-per-node", "2", "--pe", "mpi", "--", "train", "--num-epochs", "2"]
    assert main(["submit", "--dry-run", *given]) == 0
    printed = capsys.readouterr().out
    assert not (place / "called").exists()
    assert list(Path().iterdir()) == []
    assert main(["submit", *given]) == 0
    script, command = (place / "got").read_text(), (place / "called").read_text().strip()
    assert printed.startswith(f"{script}\n# ")
    assert printed.partition("\n# ")[2].partition(" <")[0].strip().removeprefix(f"{place}/programs/") == command
    out = capsys.readouterr().out
    assert "was submitted as job 71.\nrun     runs/default-71\nlog     runs/default-71.log\n" in out
    assert (Path("runs") / "default-71" / "job" / "script").read_text() == script
    assert "exec hvd-train supervise --np 4 --time 1:00:00 --warn 120" in script
    assert "-- train --num-epochs 2 --run-dir 'runs/default-{job}'" in script


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--", "train"], "No batch scheduler was found on PATH"),
        (["--on", "slurm"], "After -- hvd-train submit takes what the job runs.*but nothing came there"),
        (["--on", "slurm", "train"], "train"),
        (["--on", "slurm", "--", "bench"], "'bench' came there"),
        (["--on", "slurm", "--nodes", "3", "--", "train"], "3 ranks cannot share 64 virtual shards"),
        (["--on", "slurm", "--nodes", "0", "--", "train"], "--nodes 0: it is a whole number from 1"),
        (
            ["--on", "slurm", "--ranks-per-node", "4", "--", "train", "--global-batch-size", "6"],
            "4 ranks cannot share 2",
        ),
        (["--on", "slurm", "--", "train", "--data", "none.csv"], "--data none.csv: there is no such file"),
        (["--on", "slurm", "--", "train", "--num-epoch", "2"], "Unrecognized options"),
        (["--on", "slurm", "--", "train", "--resume"], "name it, --resume RUN_DIR"),
        (["--on", "slurm", "--time", "2h", "--", "train"], "--time 2h: a time is written H:MM:SS"),
        (["--on", "slurm", "--time", "0:01:00", "--", "train"], "--time 0:01:00 must be longer than the warning"),
        (
            ["--on", "slurm", "--mem-per-rank", "4", "--", "train"],
            "--mem-per-rank 4: a size is a number with M, G or T",
        ),
        (["--on", "slurm", "--queue", "a\nb", "--", "train"], "--queue 'a.nb': it has letters"),
        (["--on", "slurm", "--setup", "a\nb", "--", "train"], "--setup takes one line"),
        (["--on", "slurm", "--max-parallel", "2", "--", "train"], "--max-parallel limits the tasks of an array"),
        (["--on", "sge", "--nodes", "2", "--", "train"], "A Grid Engine job of 2 slots needs .*: give --pe NAME"),
        (["--on", "pbs", "--launcher", "srun", "--", "train"], "--launcher srun is Slurm's"),
        (["--on", "slurm", "--nodes", "2", "--", "tune"], "--nodes 2: tune searches on one machine"),
        (["--on", "slurm", "--", "evaluate", "runs/none"], "runs/none has no model.keras"),
        (["--on", "slurm", "--array", "none.toml", "--", "train"], "--array none.toml: there is no such file"),
    ],
)
def test_what_would_fail_later_is_refused(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:

    assert re.search(message, " ".join(refused(capsys, *argv).split())), message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("[", "this is not TOML"),
        ("seed = [1]", "unknown key 'seed'. A sweep has a table"),
        ("[grid]\nseed = 1", "grid.seed = 1 must be a list of values"),
        ("[grid]\nseed = []", "must be a list of values"),
        ("[grid]\nseed = [1]\n[[task]]\nseed = 2", "'seed' is in .grid. and in a ..task.."),
        ("[grid]\nseed = [{a = 1}]", "is no value of a flag"),
        ("grid = 3", "A sweep has a table"),
        ("task = []", "it describes no tasks"),
    ],
)
def test_a_sweep_that_is_none_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_sweep(path)


def test_a_sweep_is_a_grid_a_list_or_both(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(
        '[grid]\nbase_learning_rate = [0.1, 0.2]\nfilters = [[8, 8]]\n[[task]]\nautotune = true\n[[task]]\nlabel = "a b"\n'
    )
    assert read_sweep(path) == [
        ("--autotune", "--base-learning-rate", "0.1", "--filters", "8", "8"),
        ("--autotune", "--base-learning-rate", "0.2", "--filters", "8", "8"),
        ("--label", "a b", "--base-learning-rate", "0.1", "--filters", "8", "8"),
        ("--label", "a b", "--base-learning-rate", "0.2", "--filters", "8", "8"),
    ]


def test_each_task_of_a_sweep_is_checked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("sweep.toml").write_text("[grid]\nglobal-batch-size = [64, 3]\n")
    given = ("--on", "slurm", "--ranks-per-node", "2", "--array", "sweep.toml", "--", "train")
    assert "task 2 (--global-batch-size 3) cannot run: 2 ranks cannot share 1 virtual shards" in " ".join(
        refused(capsys, *given).split()
    )
    twice = refused(capsys, *given, "--global-batch-size", "64")
    assert "task 1 of sweep.toml (--global-batch-size 64) cannot run: --global-batch-size is in the sweep" in twice
    assert "would be the directory of every task" in refused(
        capsys, "--on", "slurm", "--array", "sweep.toml", "--", "train", "--run-dir", "runs/a"
    )
    Path("sweep.toml").write_text('[grid]\nrun_dir = ["a"]\n')
    assert "--run-dir has no place in a sweep" in refused(capsys, *given)
    Path("sweep.toml").write_text("[grid]\nnum-epoch = [1]\n")
    assert "task 1 of sweep.toml (--num-epoch 1) cannot run" in refused(capsys, *given)


def test_an_array_has_a_directory_for_each_task(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    installed(place, "slurm")
    Path("sweep.toml").write_text("[grid]\nseed = [3, 4]\n")
    assert main(["submit", "--array", "sweep.toml", "--max-parallel", "1", "--", "train"]) == 0
    assert "#SBATCH --array=0-1%1\n" in (place / "got").read_text()
    assert "run     runs/default-71_0 ... runs/default-71_1" in capsys.readouterr().out
    assert sorted(path.name for path in Path("runs").iterdir()) == ["default-71_0", "default-71_1"]


def test_defaults_come_from_two_files_and_flags_take_precedence(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user, here = site_files({"XDG_CONFIG_HOME": str(place / "config")})
    user.parent.mkdir(parents=True)
    user.write_text('on = "slurm"\nqueue = "gpu"\naccount = "a1"\nsetup = ["module load gcc"]\n')
    here.write_text('queue = "cpu"\ntime = "0:30:00"\n')
    assert of_site(user, here) == Settings(
        on="slurm", queue="cpu", account="a1", time="0:30:00", setup=("module load gcc",)
    )
    assert main(["submit", "--dry-run", "--account", "a2", "--setup", "ulimit -c 0", "--", "train"]) == 0
    script = capsys.readouterr().out
    for line in ("#SBATCH --partition=cpu", "#SBATCH --account=a2", "#SBATCH --time=00:30:00"):
        assert f"{line}\n" in script
    assert "\nmodule load gcc\nulimit -c 0\n" in script


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("queu = 'a'", r"site\.toml: unknown key 'queu'\. Did you mean 'queue'\?"),
        ("nodes = 'two'", r"site\.toml: nodes = 'two' must be a whole number"),
        ("on = 'torque'", r"site\.toml: on = 'torque' is not one of 'auto', 'slurm'"),
        ("dry_run = true", "unknown key 'dry_run'"),
        ("[", "this is not TOML"),
    ],
)
def test_a_wrong_site_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        of_site(tmp_path / "site.toml")


def test_directives_may_begin_with_dashes_and_can_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    given = [
        "--directive",
        "--constraint=a100",
        "--directive=-C b",
        "--skip-directive",
        "--signal",
        "--mem-per-rank",
        "4G",
    ]
    assert main(["submit", "--on", "slurm", "--dry-run", *given, "--skip-directive", "mem", "--", "train"]) == 0
    script = capsys.readouterr().out
    assert "#SBATCH --constraint=a100\n#SBATCH -C b\n" in script
    assert "signal" not in script
    assert "#SBATCH --mem" not in script


def test_a_run_directory_that_is_given_is_fixed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    installed(place, "slurm")
    run = Path("runs/a")
    for flags in (["--run-dir", "runs/a"], ["--run_dir=runs/a", "--resume", "auto"]):
        assert main(["submit", "--dry-run", "--", "train", *flags, "--seed", "1"]) == 0
        printed = capsys.readouterr().out
        assert "-- train --seed 1 --run-dir runs/a\n" in printed
        assert "/runs/a-%j.log" in printed
    run.mkdir(parents=True)
    (run / "DONE").touch()
    assert main(["submit", "--", "train", "--run-dir", "runs/a"]) == 2
    assert "runs/a is complete: choose another --run-dir" in capsys.readouterr().err


def test_paths_that_other_machines_do_not_see_are_warned_of(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\nnone /home/ada/\\040x fuse.sshfs rw 0 0\n"
        "tmpfs /scratch tmpfs rw 0 0\nx /work lustre rw 0 0\n"
    )
    paths = {
        "data": Path("/home/bob/a.csv"),
        "environment": Path("/opt/hvd"),
        "run directory": Path("/work/runs"),
        "a": Path("/scratch/a"),
        "b": Path("/tmp/b"),
        "c": Path("/home/ada/ x/c"),
        "d": Path("/dev/shm/d"),
    }
    assert checks.unseen_paths(paths, mounts) == [
        "The machines of the job may not see the environment /opt/hvd: this file system (ext4) is on a disk of this machine.",
        "The machines of the job may not see the a /scratch/a: this file system (tmpfs) is on a disk of this machine.",
        "The machines of the job may not see the b /tmp/b: /tmp is another directory on each machine.",
        "The machines of the job may not see the d /dev/shm/d: /dev/shm is another directory on each machine.",
    ]
    assert checks.unseen_paths({"a": Path("/a")}, tmp_path / "none") == []


@pytest.mark.parametrize("name", ["a%j", "a$HOME", "a`b"])
def test_a_directory_that_a_scheduler_would_rename_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(name).mkdir()
    monkeypatch.chdir(name)
    monkeypatch.setenv("PWD", str(Path.cwd()))
    assert "schedulers replace what begins with" in refused(capsys, "--on", "slurm", "--", "train")


def test_other_verbs_write_where_the_job_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "--on", "slurm", "--dry-run", "--", "tune", "--np", "1"]) == 0
    assert "exec hvd-train tune --np 1 --out 'runs/tune-{job}'\n" in capsys.readouterr().out
    assert main(["submit", "--on", "slurm", "--dry-run", "--nodes", "2", "--", "ensemble", "--members", "3"]) == 0
    printed = capsys.readouterr().out
    assert "exec hvd-train supervise --np 2 " in printed
    assert "    -- ensemble --members 3 --run-dir 'runs/ensemble-{job}'\n" in printed
