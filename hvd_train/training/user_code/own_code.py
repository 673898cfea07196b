"""A user's own network, loss and metrics: had on every rank, the same file on every host, and kept in the run directory."""

from __future__ import annotations

import hashlib

from hvd_train.config import RunConfig, file_of, is_reference
from hvd_train.distributed import World
from hvd_train.errors import ConfigError
from hvd_train.models import objective, require_network
from hvd_train.runs import RunDir, user_code


def references_of(config: RunConfig) -> list[str]:
    """The references in a config to code that makes the model, reads its table or scores it."""
    made_with = (config.model.name, config.objective.loss, config.table.format)
    return [*(name for name in made_with if is_reference(name)), *config.evaluation.metrics]


def require_own_code(config: RunConfig, world: World) -> None:
    """Import the user's network and loss. All ranks.

    Raises:
        ConfigError: on every rank, where one cannot import them, or has another file than the root.
    """
    references = references_of(config)
    if not references:
        return

    def load() -> list[str]:
        require_network(config.model)
        if is_reference(config.objective.loss):
            objective(config.objective.loss)
        files = [path for path in map(file_of, references) if path is not None and path.is_file()]
        return [f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]

    own = world.together(load)
    found = world.allgather((own, world.placement.host))
    others = sorted({host for files, host in found if files != found[0][0]})
    if others:
        raise ConfigError(
            f"{', '.join(references)}: on {', '.join(others)} the file is not the one on {found[0][1]}. Copy the same file to "
            "every host."
        )


def use_kept_code(config: RunConfig, run_dir: RunDir, world: World) -> list[str]:
    """Continue with the copies in the run directory, where files of the user are gone. All ranks; in words, what is used."""
    replaced = world.together(lambda: user_code.use_kept(references_of(config), run_dir, as_trained=False))
    return [f"{path} is gone: the run continues with the copy in {run_dir.code}" for path in replaced or []]
