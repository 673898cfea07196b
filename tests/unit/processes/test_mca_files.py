"""What files of Open MPI set, and which of them counts."""

from __future__ import annotations

from pathlib import Path

from hvd_train.processes import mca_settings

LIMIT, YIELD = "OMPI_MCA_btl_tcp_eager_limit", "OMPI_MCA_mpi_yield_when_idle"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_user_s_file_goes_before_that_of_the_environment(tmp_path: Path) -> None:
    home, prefix = tmp_path / "home", tmp_path / "venv"
    write(home / ".openmpi" / "mca-params.conf", "# a comment = 1\n\nbtl_tcp_eager_limit = 32768  \n")
    write(prefix / "etc" / "openmpi-mca-params.conf", "btl_tcp_eager_limit=7\nmpi_yield_when_idle = 1\nbroken line\n")
    assert mca_settings({"HOME": str(home)}, str(prefix), root=tmp_path) == {LIMIT: "32768", YIELD: "1"}
    assert mca_settings({"OPAL_PREFIX": str(prefix)}, root=tmp_path) == {LIMIT: "7", YIELD: "1"}
    assert mca_settings({}, root=tmp_path) == {}


def test_of_a_system_s_open_mpi_the_files_in_etc_are_read(tmp_path: Path) -> None:
    write(tmp_path / "etc" / "openmpi-x86_64" / "openmpi-mca-params.conf", "btl_tcp_eager_limit = 7\n")
    assert mca_settings({}, root=tmp_path) == {LIMIT: "7"}
    assert mca_settings({}, str(tmp_path / "venv"), root=tmp_path) == {}


def test_files_that_are_named_are_the_only_ones(tmp_path: Path) -> None:
    write(tmp_path / ".openmpi" / "mca-params.conf", "btl_tcp_eager_limit = 32768\n")
    own = write(tmp_path / "own.conf", "mpi_yield_when_idle = 0\n")
    given = {"HOME": str(tmp_path), "OMPI_MCA_mca_base_param_files": f"{tmp_path / 'none.conf'},{own}"}
    assert mca_settings(given, root=tmp_path) == {YIELD: "0"}
