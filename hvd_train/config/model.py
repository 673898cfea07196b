"""ModelConfig: which network, and what its input goes through."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, TypeVar

import tyro.conf

from hvd_train.config.networks import NETWORKS, ExpansiveCnnConfig, InputConfig, ResidualCnnConfig, TabmConfig
from hvd_train.config.reference import FORM, absolute, is_reference, require_form
from hvd_train.config.section import Section, require

Kind = TypeVar("Kind", bound=Section)
NetworkName = Annotated[str, tyro.conf.arg(name="model", metavar=f"{{{','.join(NETWORKS)},FILE.py:FUNCTION}}")]


@dataclass(frozen=True, kw_only=True)
class NetworkChoice(Section):
    """Which network. A base of its own, so that its flags come first."""

    name: NetworkName = "seed_cnn"
    """seed_cnn: convolutions, then dense layers. deep_cnn and residual_cnn are deeper and can be normalised. expansive_cnn: the zero-padded, widening network of the theory of Zhou. mlp: dense layers. tabm: many such networks that share most of their weights. linear: the output layer only. fcn, resnet1d, inception and lite: published networks for series. For a network of your own, give path/to/file.py:function or package.module:function."""
    options: Annotated[tuple[str, ...], tyro.conf.arg(name="model-options", metavar="NAME=VALUE ...")] = ()
    """Options of a network of your own, such as width=64. They are the fields of its config."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig(InputConfig, TabmConfig, ResidualCnnConfig, ExpansiveCnnConfig, NetworkChoice):
    """The network."""

    def check(self) -> None:
        if is_reference(self.name):
            require_form(self.name, key="model")
            # Frozen, and not used yet: the file is the same from whatever directory the run goes on.
            object.__setattr__(self, "name", absolute(self.name))
        else:
            rule = f"it is one of {', '.join(NETWORKS)}, or a network of your own, written {FORM}"
            require(self.name in NETWORKS, "model", self.name, rule)
            flags = "a built-in network has flags of its own; options are for a network of your own"
            require(not self.options, "model-options", " ".join(self.options), flags)
        super().check()
        require(
            self.name != "expansive_cnn" or self.kernel_size >= 2,
            "kernel_size",
            self.kernel_size,
            "expansive_cnn needs at least 2 taps to widen",
        )

    @property
    def network(self) -> Section:
        """The fields of the built-in network, as its own class. Pure."""
        return self._fields_of(NETWORKS[self.name])

    @property
    def inputs(self) -> InputConfig:
        """The fields that say what the columns go through first. Pure."""
        return self._fields_of(InputConfig)

    def _fields_of(self, kind: type[Kind]) -> Kind:
        return kind(**{field.name: getattr(self, field.name) for field in dataclasses.fields(kind)})  # type: ignore[arg-type]
