"""What `hostfile convert` writes is read by horovodrun's own parser and by a real mpirun."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from horovod.runner.common.util.hosts import parse_host_files, parse_hosts_and_slots
from processes import mpirun, run

from hvd_train.hostfiles.forms import check, convert
from hvd_train.hostfiles.hostfile import read_hostfile

# As people write them; each with three slots on this host.
FORMS = [
    "# this machine\n\nlocalhost:3\n",
    "localhost slots = 3",
    "\ufefflocalhost slots=3   # all\r\n",
    "localhost ppn=3\n",
    "localhost slots=3 max_slots=3\n",
    "root@localhost slots=3\n",
    "localhost username=root count=3\n",
    "127.0.0.1 slots=3\n",
]
# The file decides how many ranks fit: otherwise any hostfile would do.
NO_MORE = {"OMPI_MCA_rmaps_base_oversubscribe": None, "OMPI_MCA_rmaps_base_no_oversubscribe": "1"}


def hostfile(directory: Path, text: str) -> Path:
    path = directory / "hosts"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("text", [form for form in FORMS if "root" not in form])
def test_horovodruns_parser_reads_it(text: str, tmp_path: Path) -> None:
    path = hostfile(tmp_path, text)
    hosts = read_hostfile(path)
    (tmp_path / "converted").write_text(convert(path, "horovodrun"))
    names, slots = parse_hosts_and_slots(parse_host_files(str(tmp_path / "converted")))
    assert names == [host.name for host in hosts]
    assert slots == {host.name: host.slots for host in hosts}


@pytest.mark.parametrize("text", FORMS)
def test_mpirun_reads_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "converted"
    path.write_text(convert(hostfile(tmp_path, text), "mpirun"))
    assert run(mpirun(3, "--hostfile", path, "echo", "here"), timeout_s=20, env=NO_MORE).stdout == "here\n" * 3
    assert run(mpirun(4, "--hostfile", path, "echo", "here"), timeout_s=20, env=NO_MORE, ok=False).stdout == ""


@pytest.mark.parametrize("text", FORMS)
def test_check_is_right_about_mpirun(text: str, tmp_path: Path) -> None:
    path = hostfile(tmp_path, text)
    finished = run(mpirun(3, "--hostfile", path, "echo", "here"), timeout_s=20, env=NO_MORE, ok=None)
    said = re.search(r"mpirun: reads it as it is", check(path)) is not None
    assert said == (finished.code == 0), f"{check(path)}\n{finished}"


@pytest.mark.parametrize("text", [form for form in FORMS if "root" not in form and "ppn" not in form])
def test_check_is_right_about_horovodrun(text: str, tmp_path: Path) -> None:
    """ppn= is left out: horovodrun reads it by luck, as it reads whatever stands before the `=`."""
    path = hostfile(tmp_path, text)
    try:
        names, slots = parse_hosts_and_slots(parse_host_files(str(path)))
        reads = [(host.name, host.slots) for host in read_hostfile(path)] == [(name, slots[name]) for name in names]
    except (ValueError, IndexError):
        reads = False
    assert ("horovodrun: reads it as it is" in check(path)) == reads
