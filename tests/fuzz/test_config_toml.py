"""Damaged and forged config.toml: refused by ConfigError, or a RunConfig that is written and read back equal."""

from __future__ import annotations

import copy
import math
import random
from dataclasses import asdict
from pathlib import Path

import tomli_w
from fuzzing import change_document, damaged, fuzz, require_clear

from hvd_train.config import recipes, toml
from hvd_train.errors import ConfigError

GOOD = toml.dumps(recipes.recipe("leaves").replace(table={"path": Path("/songs.csv"), "missing": ("?", "NA")}))


def check_in(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    try:
        config = toml.load(path)
    except ConfigError as error:
        require_clear(error, path)
        return "refused"
    path.write_text(toml.dumps(config))
    assert toml.load(path) == config
    values = [v for section in asdict(config).values() for v in section.values()]
    numbers = [n for v in values for n in (v if isinstance(v, tuple) else [v]) if isinstance(n, float)]
    assert all(map(math.isfinite, numbers))
    assert "\0" not in str(config.table.path)
    return "read"


def test_damaged_bytes(tmp_path: Path) -> None:
    fuzz("config-bytes", damaged(GOOD.encode()), lambda data: check_in(tmp_path / "config.toml", data), suffix=".toml")


def test_forged_documents(tmp_path: Path) -> None:
    document = toml.tomllib.loads(GOOD)

    def make(rng: random.Random) -> bytes:
        if rng.random() < 0.02:
            return rng.choice([b"a = " + b"[" * 5000, b"a.b" * 5000 + b" = 1", b"[data]\nnum_songs = " + b"9" * 5000])
        forged: object = copy.deepcopy(document)
        for _ in range(rng.choice([1, 1, 2, 3])):
            forged = change_document(rng, forged)
        try:
            return tomli_w.dumps(forged).encode()  # type: ignore[arg-type]
        except (TypeError, ValueError, AttributeError):  # TOML has no null, and no half characters
            return b"[training]\nseed = " + repr(rng.choice([-1, 2**31, 10**400, 1.5])).encode()

    fuzz("config-documents", make, lambda data: check_in(tmp_path / "config.toml", data), suffix=".toml")
