"""`hvd-train train --print-config`: the settings of a run as TOML. Starts no rank and reads no data."""

from __future__ import annotations

import dataclasses

from hvd_train.config import RunConfig, toml


def described(config: RunConfig) -> str:
    """TOML that `--config` reads back as an equal RunConfig, with every key.

    A key that is chosen when the run begins has no value in TOML: it stands in a comment.
    """
    parts = []
    for section in dataclasses.fields(config):
        values = getattr(config, section.name)
        unset = [field.name for field in dataclasses.fields(values) if getattr(values, field.name) is None]
        lines = [toml.section(section.name, values).strip(), *(f"# {key}: chosen when the run begins" for key in unset)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
