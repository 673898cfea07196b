"""What hvd_train.keras sets before Keras, MPI and Horovod start. The file is loaded by itself: its package needs TensorFlow."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[3] / "hvd_train" / "keras" / "environment.py"


@pytest.fixture
def module() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("keras_environment", FILE)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize(
    ("given", "loaded", "after", "told"),
    [
        ({}, [], {"KERAS_BACKEND": "tensorflow"}, []),
        ({"KERAS_BACKEND": "tensorflow"}, [], {"KERAS_BACKEND": "tensorflow"}, []),
        ({"KERAS_BACKEND": "jax"}, [], {"KERAS_BACKEND": "tensorflow"}, ["KERAS_BACKEND=jax is taken as tensorflow"]),
        ({"KERAS_BACKEND": "jax"}, ["keras"], {"KERAS_BACKEND": "jax"}, []),  # too late: refused by use_tensorflow
        (
            {"TF_USE_LEGACY_KERAS": "1"},
            [],
            {"TF_USE_LEGACY_KERAS": "0", "KERAS_BACKEND": "tensorflow"},
            ["TF_USE_LEGACY_KERAS is taken as 0"],
        ),
    ],
)
def test_keras_runs_on_tensorflow(
    module: types.ModuleType, given: dict[str, str], loaded: list[str], after: dict[str, str], told: list[str]
) -> None:
    environment = dict(given)
    words = module.choose_keras(environment, loaded)
    assert environment == after
    assert len(words) == len(told)
    assert all(start in line for start, line in zip(told, words, strict=True))


def test_another_backend_that_runs_already_is_one_message(
    module: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = types.SimpleNamespace(backend=types.SimpleNamespace(backend=lambda: "torch"))
    monkeypatch.setitem(sys.modules, "keras", keras)  # type: ignore[arg-type]
    with pytest.raises(
        ImportError, match=r"its torch backend.*Set KERAS_BACKEND=tensorflow, or import hvd_train\.keras"
    ):
        module.use_tensorflow()
    with pytest.raises(ImportError, match=r"tf\.keras is Keras 2\.15\.0.*Unset TF_USE_LEGACY_KERAS"):
        module.require_keras_3("2.15.0")
    module.require_keras_3("3.15.1")


def test_start_without_a_launcher(module: types.ModuleType, tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    module.prepare_start(environment, prefix=tmp_path)
    assert environment == {
        "OMPI_MCA_ess_singleton_isolated": "1",
        "OMPI_MCA_btl": "^ofi",
        "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "600",
    }
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libmpi.so.40").touch()
    module.prepare_start(environment, prefix=tmp_path)
    assert environment["OPAL_PREFIX"] == str(tmp_path)


@pytest.mark.parametrize("launched", ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "HOROVOD_RANK"])
def test_start_by_a_launcher_keeps_what_is_given(module: types.ModuleType, tmp_path: Path, launched: str) -> None:
    given = {launched: "2", "OPAL_PREFIX": "there", "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "7", "OMPI_MCA_btl": "^tcp"}
    environment = dict(given)
    module.prepare_start(environment, prefix=tmp_path)
    assert environment == given


def test_a_transport_that_horovod_never_uses_is_left_out(module: types.ModuleType, tmp_path: Path) -> None:
    """Beside that which horovodrun leaves out, unless a file of Open MPI names others."""

    def found(**environment: str) -> str | None:
        module.prepare_start(environment, prefix=tmp_path, root=tmp_path)
        return environment.get("OMPI_MCA_btl")

    home = {"HOME": str(tmp_path)}
    assert found(**home) == "^ofi"
    assert found(**home, OMPI_MCA_btl="^openib") == "^openib,ofi"
    (tmp_path / ".openmpi").mkdir()
    (tmp_path / ".openmpi" / "mca-params.conf").write_text("btl_tcp_links = 2\n")
    assert found(**home) == "^ofi"
    (tmp_path / ".openmpi" / "mca-params.conf").write_text("btl = self,tcp\n")
    assert found(**home) is None


@pytest.mark.parametrize(("check", "shutdown"), [("60", "600"), ("900", "1800"), ("soon", "600")])
def test_the_limit_is_longer_than_the_first_warning(
    module: types.ModuleType, tmp_path: Path, check: str, shutdown: str
) -> None:
    environment = {"HOROVOD_STALL_CHECK_TIME_SECONDS": check}
    module.prepare_start(environment, prefix=tmp_path)
    assert environment["HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"] == shutdown
