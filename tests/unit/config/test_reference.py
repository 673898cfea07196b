"""References to a user's own code: well formed, resolved once, and refused with one clear message."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvd_train.config import RunConfig
from hvd_train.config.reference import absolute, reference_to, require_form, resolve, stand_in
from hvd_train.errors import ConfigError


def test_a_file_is_loaded_once_and_by_any_path_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets.py").write_text("class Net: pass\n")
    monkeypatch.chdir(tmp_path)
    net = resolve("nets.py:Net", key="model")
    assert net is resolve(f"{tmp_path}/nets.py:Net", key="model")
    assert absolute("nets.py:Net") == f"{tmp_path.resolve()}/nets.py:Net"


def test_a_module_of_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_nets_of_this_test.py").write_text("wide = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert resolve("my_nets_of_this_test:wide", key="model") == 3


@pytest.mark.parametrize("text", ["nets.py:", "nets.py:a b", ":wide", "my nets:wide", "a/b:wide", "3x:wide"])
def test_what_is_not_well_formed_is_refused_before_anything_is_imported(text: str) -> None:
    with pytest.raises(ConfigError, match=r"model = .* is not possible: a reference is written package\.module:name"):
        require_form(text, key="model")


def test_what_cannot_be_had_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        resolve(f"{tmp_path}/none.py:x", key="model")
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")
    with pytest.raises(ConfigError, match=r"broken\.py cannot be imported: ModuleNotFoundError: No module named"):
        resolve(f"{tmp_path}/broken.py:x", key="loss")
    (tmp_path / "fine.py").write_text("y = 1\n")
    with pytest.raises(ConfigError, match=r"has no 'x'\. It defines: y\."):
        resolve(f"{tmp_path}/fine.py:x", key="metrics")
    with pytest.raises(ConfigError, match="nowhere cannot be imported"):
        resolve("nowhere:x", key="loss")


def test_a_function_is_named_so_that_other_programs_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets_of_a_script.py").write_text("def wide(x): return x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import nets_of_a_script  # type: ignore[import-not-found]

    text = reference_to(nets_of_a_script.wide, key="network")
    assert text == f"{(tmp_path / 'nets_of_a_script.py').resolve()}:wide"
    assert resolve(text, key="model") is nets_of_a_script.wide
    assert reference_to(RunConfig, key="network").endswith(":RunConfig")
    with pytest.raises(ConfigError, match="at the top level of a module"):
        reference_to(lambda x: x, key="network")


def test_a_file_finds_the_modules_beside_it(tmp_path: Path) -> None:
    (tmp_path / "layers_beside.py").write_text("gate = 5\n")
    (tmp_path / "uses_them.py").write_text("from layers_beside import gate\n")
    assert resolve(f"{tmp_path}/uses_them.py:gate", key="model") == 5


def test_a_copy_stands_in_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "copy.py").write_text("y = 2\n")
    stand_in((tmp_path / "gone.py").resolve(), tmp_path / "copy.py")
    assert resolve(f"{tmp_path}/gone.py:y", key="model") == 2
