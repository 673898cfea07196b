"""The scripts of `hvd-train completion`, in the shells that are installed here: what TAB offers."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hvd_train.cli import verbs
from hvd_train.cli.shell.completion import KINDS, ZSH_OFFERS_SOME

BASH = """
source {script}
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _tyro_hvd_train
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
FISH = "source {script}; complete -C 'hvd-train {line}'"
# What zsh would show: the function that shows it needs a terminal.
ZSH = """
_describe() {{ print -rl -- "${{(@P)2}}" }}
words=({words}); CURRENT=${{#words}}
source {script} || true
"""
CASES = {
    "": {"train", "data", "jobs", "completion", "--help", "--version"},
    "tr": {"train"},
    "train --earl": {"--early-stopping-patience"},
    "train --help-": {"--help-all"},
    "train --balance ": {"none", "repeat", "inverse", "sqrt-inverse", "effective-number"},
    "train --recipe syn": {"synthetic-songs", "synthetic-songs-cnn"},
    "train --seed 3 --monitor val_bal": {"val_balanced_mae", "val_balanced_loss", "val_balanced_accuracy"},
    "ensemble --model ml": {"mlp"},
    "evaluate --split t": {"train", "test"},
    "data ": {"fetch", "convert", "check", "describe", "-h", "--help"},
    "data convert --thou": {"--thousands"},
    "supervise --hosts lab1:2 -- train --mon": {"--monitor"},
    "launch --np 2 -- pre": {"predict"},
    "completion --h": {"--help"},
}


def written(folder: Path, shell: str) -> Path:
    script = folder / f"completion.{shell}"
    command = [sys.executable, "-m", "hvd_train.cli.entry", "completion", shell]
    script.write_text(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)
    return script


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("completion")
    return {shell: written(folder, shell) for shell in ("bash", "zsh", "fish")}


def output(*command: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("line", CASES)
def test_bash_completes_verbs_flags_and_values(line: str, scripts: dict[str, Path], tmp_path: Path) -> None:
    words = " ".join(f"'{word}'" for word in f"hvd-train {line}".split(" "))
    program = BASH.format(script=scripts["bash"], words=words)
    offered = set(output("bash", "--norc", "-c", program, cwd=tmp_path).split())
    assert CASES[line] <= offered
    if line:
        assert offered == CASES[line]


def test_bash_completes_files_where_a_flag_takes_one(scripts: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "songs.csv").touch()
    program = BASH.format(script=scripts["bash"], words="hvd-train train --data so")
    assert output("bash", "--norc", "-c", program, cwd=tmp_path).split() == ["songs.csv"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize("line", CASES)
def test_fish_completes_the_same(line: str, scripts: dict[str, Path], tmp_path: Path) -> None:
    program = FISH.format(script=scripts["fish"], line=line)
    env = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    lines = output("fish", "--no-config", "-c", program, cwd=tmp_path, env=env).splitlines()
    offered = {text.partition("\t")[0] for text in lines}
    # fish shows flags only after a dash.
    assert {word for word in CASES[line] if line.split(" ")[-1].startswith("-") or word[0] != "-"} <= offered


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize("line", CASES)
def test_zsh_completes_the_same(line: str, scripts: dict[str, Path], tmp_path: Path) -> None:
    words = " ".join(f"'{word}'" for word in f"hvd-train {line}".split(" "))
    program = ZSH.format(script=scripts["zsh"], words=words)
    offered = {text.partition(":")[0] for text in output("zsh", "-f", "-c", program, cwd=tmp_path).splitlines()}
    assert CASES[line] <= offered
    if line:
        assert offered == CASES[line]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_on_a_terminal(scripts: dict[str, Path], tmp_path: Path) -> None:
    """TAB completes a verb, a flag and a file, and leaves a line alone for which there is nothing to offer."""
    (tmp_path / "functions").mkdir()
    shutil.copy(scripts["zsh"], tmp_path / "functions" / "_hvd-train")
    (tmp_path / "songs.csv").touch()
    lines = {
        "hvd-train prec": "hvd-train prec",
        "hvd-train pred": "hvd-train predict ",
        "hvd-train train --early": "hvd-train train --early-stopping-patience ",
        "hvd-train train --data so": "hvd-train train --data songs.csv ",
        "hvd-train train --seed ": "hvd-train train --seed ",
    }
    assert typed_in_zsh(tmp_path, tuple(lines)) == list(lines.values())


def test_zsh_inserts_nothing_where_nothing_is_offered(scripts: dict[str, Path]) -> None:
    """Here too where zsh is missing: tyro's script is changed by its text."""
    assert scripts["zsh"].read_text().count(ZSH_OFFERS_SOME) == 1


def typed_in_zsh(folder: Path, lines: Sequence[str]) -> list[str]:
    """The command lines that TAB makes of these in a zsh whose functions are in `folder`/functions."""
    program = f"""
PS1= fpath=({folder}/functions $fpath)
unsetopt zle_bracketed_paste prompt_cr prompt_sp
autoload -Uz compinit; compinit -D
show() {{ print -r -- "<$BUFFER>" >> {folder}/typed; BUFFER= }}
zle -N show; bindkey '^B' show; bindkey '^I' complete-word
print begun >> {folder}/typed
""".strip()
    terminal, of_shell = os.openpty()
    zsh = subprocess.Popen(
        ["zsh", "-f", "-i"],
        cwd=folder,
        env={**os.environ, "TERM": "dumb", "HOME": str(folder), "ZDOTDIR": str(folder)},
        stdin=of_shell,
        stdout=of_shell,
        stderr=of_shell,
        start_new_session=True,
    )
    try:
        os.write(terminal, program.replace("\n", "; ").encode() + b"\r")
        for number, line in enumerate(lines):
            wait_for_lines(folder / "typed", 1 + number, terminal)
            os.write(terminal, f"{line}\t\x02".encode())
        return [text[1:-1] for text in wait_for_lines(folder / "typed", 1 + len(lines), terminal)[1:]]
    finally:
        zsh.kill()
        zsh.wait()
        os.close(terminal)
        os.close(of_shell)


def wait_for_lines(file: Path, number: int, terminal: int) -> list[str]:
    """The lines of a file once there are so many. What the terminal prints meanwhile is read: a full one stops the shell."""
    deadline, printed = time.monotonic() + 30, b""
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.05)[0]:
            printed += os.read(terminal, 65536)
        if file.exists() and len(found := file.read_text().splitlines()) >= number:
            return found
    raise AssertionError(printed.decode(errors="replace"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_fits_into_one_argument_and_is_ascii(shell: str, scripts: dict[str, Path]) -> None:
    """fish passes it to Python as one argument, of which Linux takes 128 KB."""
    assert 10_000 < len(scripts[shell].read_text(encoding="ascii")) < 100_000


def test_every_verb_is_completed() -> None:
    assert {name.split()[0] for name in KINDS} == set(verbs.VERBS)


def test_a_script_is_made_without_tensorflow() -> None:
    program = (
        "import sys\nfrom hvd_train.cli.verbs import main\ncode = main(['completion', 'bash'])\n"
        "sys.exit(code or 'tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60).returncode == 0


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.main(["completion", "powershell"]) == 2
    printed = capsys.readouterr()
    assert "bash" in printed.out + printed.err
    assert "powershell" in printed.out + printed.err
