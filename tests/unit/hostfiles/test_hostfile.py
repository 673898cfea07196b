"""Hostfiles: every form that horovodrun and mpirun users write is read, the rest is refused by file and line."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_train.errors import HostfileError
from hvd_train.hostfiles.forms import Launcher, check, convert, write_hostfile
from hvd_train.hostfiles.hostfile import Host, parse_host_list, parse_hostfile, read_hostfile

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "hostfiles").iterdir())
LAUNCHERS: tuple[Launcher, ...] = ("horovodrun", "mpirun")


@pytest.mark.parametrize(
    ("line", "host"),
    [
        ("node1", Host("node1")),
        ("node1 slots=2", Host("node1", 2)),
        ("node1 slots = 2", Host("node1", 2)),
        ("node1 slots= 2", Host("node1", 2)),
        ("node1:2", Host("node1", 2)),
        ("node1 ppn=3", Host("node1", 3)),
        ("node1 count=3", Host("node1", 3)),
        ("  node1\tslots=2   # two", Host("node1", 2)),
        ("node1 slots=2 max_slots=4", Host("node1", 2, 4)),
        ("node1 max-slots = 4 slots=2", Host("node1", 2, 4)),
        ("node1:2 max_slots=4", Host("node1", 2, 4)),
        ("alice@node1 slots=2", Host("node1", 2, user="alice")),
        ("node1 username=alice", Host("node1", user="alice")),
        ("alice@10.0.0.7:2", Host("10.0.0.7", 2, user="alice")),
        ("[fd00::7]", Host("fd00::7")),
        ("[fd00:0::7]:2", Host("fd00::7", 2)),
        ("alice@[fd00::7] slots=2", Host("fd00::7", 2, user="alice")),
        ("a-b_c.example.org", Host("a-b_c.example.org")),
        ("node1 slots=2\r", Host("node1", 2)),
    ],
)
def test_every_form_is_read(line: str, host: Host) -> None:
    assert parse_hostfile(f"# a lab\n\n   \n{line}\n", "F") == (host,)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("node1 slots=two", "'two'. It is a whole number from 1"),
        ("node1 slots=0", "'0'"),
        ("node1 slots=-1", "'-1'"),
        ("node1 slots=", "slots is ''"),
        ("node1 slots=2.5", "'2.5'"),
        ("node1 slots=٣", "'٣'"),
        ("node1 slots=65537", "from 1 to 65536"),
        ("node1 slots=" + "9" * 10_000, "whole number"),
        ("node1:", "after the colon is ''"),
        ("node1:x", "'x'"),
        ("node1 2", "'2' is not an option"),
        ("node1 slots=2 slots=3", "given twice, 2 and 3"),
        ("node1:2 slots=2", "given twice, 2 and 2"),
        ("a@node1 username=b", "given twice, a and b"),
        ("node1 slots=4 max_slots=2", "max_slots=2 is less than slots=4"),
        ("node1 gpus=2", "'gpus' is not known. Known are slots="),
        ("slots=2", "'slots=2' stands where the host's name belongs"),
        ("node1,node2", "'node1,node2' is not a host's name"),
        ("-oProxyCommand=x", "stands where the host's name belongs"),
        ("-node1", "'-node1' is not a host's name"),
        ("node..1", "'node..1'"),
        ("nöde", "'nöde'"),
        ("a" * 254, "is not a host's name"),
        ("@node1", "'' is not a user's name"),
        ("-x@node1", "'-x' is not a user's name"),
        ("a@b@node1", "'a@b@node1' is not a host"),
        ("10.0.0.256", "neither a name nor an IPv4 address"),
        ("10.0.7", "neither a name nor an IPv4 address"),
        ("fd00::7", "in brackets, as in [fd00::7]:2"),
        ("[fd00::zz]", "is not an IPv6 address"),
        ("[node1]", "is not an IPv6 address"),
        ("^node1", "'^node1'"),
    ],
)
def test_nonsense_is_refused_by_file_and_line(line: str, message: str) -> None:
    with pytest.raises(HostfileError) as caught:
        parse_hostfile(f"node0 slots=2\n\n{line}\n", "cluster.txt")
    assert str(caught.value).startswith("cluster.txt, line 3: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("second", ["node1", "NODE1:3", "alice@node1", "node1 slots=3"])
def test_a_host_named_twice_is_refused(second: str) -> None:
    with pytest.raises(
        HostfileError, match=r"F, line 3: .* was named before \(F, line 1\)\. Name a host once"
    ) as caught:
        parse_hostfile(f"node1 slots=2\nnode2\n{second}", "F")
    assert ("slots=3" if second in {"node1", "alice@node1"} else "slots=5") in str(caught.value)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    with pytest.raises(HostfileError, match="hosts cannot be read: No such file"):
        read_hostfile(path)
    with pytest.raises(HostfileError, match="cannot be read: Is a directory"):
        read_hostfile(tmp_path)
    path.write_text("\n# nobody\n")
    with pytest.raises(HostfileError, match=r"hosts names no host\. It needs one line per host"):
        read_hostfile(path)
    path.write_bytes(b"\x7fELF\xff\xfe")
    with pytest.raises(HostfileError, match="hosts is not a text file"):
        read_hostfile(path)
    path.write_bytes(b"\xef\xbb\xbfnode1 slots=2\r\nnode2:3\r\n")  # as an editor on Windows saves it
    assert read_hostfile(path) == (Host("node1", 2), Host("node2", 3))


def test_host_list() -> None:
    assert parse_host_list("a:2, b,alice@[fd00::1]:3") == (Host("a", 2), Host("b"), Host("fd00::1", 3, user="alice"))
    with pytest.raises(HostfileError, match=r"-H a:2,,b, item 2: it is empty"):
        parse_host_list("a:2,,b")
    with pytest.raises(HostfileError, match=r"-H a:2,b:x, item 2: .*'x'"):
        parse_host_list("a:2,b:x")
    with pytest.raises(HostfileError, match="item 2: a was named before"):
        parse_host_list("a:2,a:3")


def test_written_for_each_launcher() -> None:
    hosts = parse_hostfile("# lab\nnode1:2\n\nnode2 slots = 3 max_slots=4\nnode3", "F")
    assert write_hostfile(hosts, launcher="horovodrun") == "node1 slots=2\nnode2 slots=3\nnode3 slots=1\n"
    assert write_hostfile(hosts, launcher="mpirun") == "node1 slots=2\nnode2 slots=3 max_slots=4\nnode3 slots=1\n"
    assert write_hostfile(parse_host_list("10.0.0.1,10.0.0.2"), launcher="mpirun").count("\n") == 2
    assert write_hostfile([Host("n", user="al")], launcher="mpirun") == "al@n slots=1\n"


@pytest.mark.parametrize(
    ("launcher", "line", "message"),
    [
        ("horovodrun", "alice@node1", r"F, line 2: horovodrun takes no user \(alice@node1\)\. Write .*ssh/config"),
        ("horovodrun", "[fd00::7]", r"F, line 2: horovodrun takes no IPv6 address .*/etc/hosts"),
        ("mpirun", "[fd00::7]", r"F, line 2: mpirun takes no IPv6 address .*/etc/hosts"),
        ("mpirun", "node_1", r"F, line 2: mpirun takes no underscore .*/etc/hosts"),
        ("mpirun", "al.ice@node1", r"F, line 2: mpirun takes no dot in a user's name .*ssh/config"),
        ("mpirun", "node0.west", r"F, line 2: mpirun cuts names .* node0.west is then the same as node0\.east"),
    ],
)
def test_what_a_launcher_cannot_say_is_refused(launcher: Launcher, line: str, message: str) -> None:
    with pytest.raises(HostfileError, match=message):
        write_hostfile(parse_hostfile(f"node0.east\n{line}", "F"), launcher=launcher)


def test_a_launcher_that_is_none() -> None:
    with pytest.raises(HostfileError, match="'srun' to write for: it is horovodrun or mpirun"):
        write_hostfile([Host("node1")], launcher="srun")  # type: ignore[arg-type]


def test_check_tells_hosts_and_who_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# lab\nnode1 slots=2\nlong-name slots=3 max_slots=4\nnode3\n")
    assert check(path).replace(str(path), "F") == (
        "F: 3 hosts, 6 slots\n"
        "  node1      2 slots\n"
        "  long-name  3 slots   (at most 4)\n"
        "  node3      1 slot   (none written, so 1; mpirun takes as many as the host has cores)\n"
        "horovodrun: not as it is; write one it reads: hvd-train hostfile convert --for horovodrun F > F.horovodrun\n"
        "mpirun: reads it as it is: mpirun -np 6 --hostfile F ..."
    )


@pytest.mark.parametrize(
    ("text", "horovodrun", "mpirun"),
    [
        ("n slots=2\n", True, True),
        ("n slots=2", True, True),
        ("n slots=2\n\n", False, True),
        ("n slots=2 # c\n", False, True),
        ("n slots=2 # a:b\n", False, True),
        ("n slots=2 max_slots=2\n", False, True),
        ("n slots = 2\n", False, True),
        ("n:2\n", False, False),
        ("n ppn=2\n", False, False),
        ("n slots=2\r\n", True, False),
    ],
)
def test_check_knows_what_each_launcher_reads(text: str, horovodrun: bool, mpirun: bool, tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(text.encode())
    last = check(path).splitlines()[-2:]
    assert [" reads it as it is" in line for line in last] == [horovodrun, mpirun]


def test_check_names_what_cannot_be_converted(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("alice@node1 slots=2\n")
    assert "horovodrun: no. " in check(path)
    assert "mpirun: reads it as it is" in check(path)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_read_as_it_is_by_both_launchers(path: Path) -> None:
    assert {example.name for example in EXAMPLES} == {"one-machine", "lab", "docker"}
    for launcher in LAUNCHERS:
        assert convert(path, launcher) == path.read_text()
    assert check(path).count("reads it as it is") == 2


labels = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=8).map(lambda s: f"n{s}x")
names = st.one_of(labels, st.tuples(labels, labels).map(".".join), st.ip_addresses(v=4).map(str))
counts = st.integers(1, 65_536)


@st.composite
def host_lists(draw: st.DrawFn, *, for_horovodrun: bool) -> list[Host]:
    unique = draw(st.lists(names, min_size=1, max_size=6, unique_by=lambda name: name.split(".")[0]))
    hosts = []
    for name in unique:
        slots = draw(counts)
        limit = None if for_horovodrun else draw(st.none() | st.integers(slots, 65_536))
        user = None if for_horovodrun else draw(st.none() | labels)
        hosts.append(Host(name, slots, limit, user))
    return hosts


@given(host_lists(for_horovodrun=True))
def test_round_trip_through_horovodruns_form(hosts: list[Host]) -> None:
    assert list(parse_hostfile(write_hostfile(hosts, launcher="horovodrun"), "F")) == hosts
    assert list(parse_host_list(",".join(f"{host}:{host.slots}" for host in hosts))) == hosts


@given(host_lists(for_horovodrun=False))
def test_round_trip_through_mpiruns_form(hosts: list[Host]) -> None:
    assert list(parse_hostfile(write_hostfile(hosts, launcher="mpirun"), "F")) == hosts


@given(st.text(alphabet=st.sampled_from("ab1:=@[]#. \t\n,-_sloturn\r\u2028\x00é"), max_size=60))
def test_any_text_is_read_or_refused_by_line(text: str) -> None:
    try:
        hosts, message = parse_hostfile(text, "F"), ""
    except HostfileError as error:
        hosts, message = (), str(error)
    assert bool(hosts) != message.startswith(("F, line ", "F names no host"))
    assert all(host.slots >= 1 and host.name for host in hosts)
