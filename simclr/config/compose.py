"""From the overrides of many cells to their configurations, without asking Hydra for each.

Hydra composes a configuration in tens of milliseconds, most of them spent on reading files that are the same for every
cell. So it is asked once for each combination of options, and plain values are set on copies of what it made of them,
with the schema's conversions. Whatever is out of the ordinary is left to Hydra.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from simclr.config.explain import explain
from simclr.config.home import quoted
from simclr.config.schema import Config
from simclr.config.setting import settings
from simclr.config.validation import resolve, typed
from simclr.foundation.errors import InvalidInput, one_line

CONF = Path(__file__).absolute().parents[2] / "conf"

# What Hydra raises when a command line cannot be composed; a ValueError where a group's option is a number or null.
NOT_COMPOSED = (HydraException, OmegaConfBaseException, ValueError)

_KNOWN = frozenset(key for key, _, _ in settings(Config))
_REFERENCE = re.compile(r"\$\{(\w[\w.]*)\}")


class _Other(Enum):
    """An override that is no plain setting."""

    CHOICE = "it decides which files are read, or what is read from it elsewhere"
    UNUSUAL = "anything else: left to Hydra"


class Composer:
    """Makes configurations of overrides, and remembers what Hydra made for the next ones.

    Hydra is asked by ``compose``, from overrides to a configuration without its ``hydra`` section: by default its own
    ``compose`` over ``conf``, within a program that Hydra started with what it was started with.
    """

    def __init__(self, compose: Callable[[list[str]], DictConfig] | None = None) -> None:
        self._by_hydra = compose or _by_hydra
        self._kind = cache(self._kind_of)
        self._composed: dict[tuple[str, ...], Config] = {}
        self._scratch = OmegaConf.structured(Config)
        self._groups: dict[str, set[str]] = {}
        self._read_elsewhere: set[str] = set()
        for path in CONF.rglob("*.yaml"):
            self._groups.setdefault(path.parent.relative_to(CONF).as_posix(), set()).add(path.stem)
            self._read_elsewhere.update(_REFERENCE.findall(path.read_text()))

    def __call__(self, overrides: Sequence[str]) -> Config:
        """The configuration that these overrides mean, valid in itself.

        Configurations share the sections in which they agree: they are there to be read.

        Raises:
            InvalidInput: an override is not understood, or its value not valid.
        """
        kinds = [self._kind(text) for text in overrides]
        if _Other.UNUSUAL in kinds:
            return self._whole(overrides)
        choices = tuple(text for text, kind in zip(overrides, kinds, strict=True) if kind is _Other.CHOICE)
        try:
            if choices not in self._composed:
                self._composed[choices] = typed(self._by_hydra(list(choices)))
        except (*NOT_COMPOSED, InvalidInput):
            return self._whole(overrides)
        made, values = self._composed[choices], [kind for kind in kinds if isinstance(kind, tuple)]
        sections = {section for section, _, _ in values if section}
        config = replace(made, **{section: copy(getattr(made, section)) for section in sections})
        for section, name, value in values:
            setattr(getattr(config, section) if section else config, name, value)
        return resolve(config)

    def _kind_of(self, text: str) -> tuple[str, str, Any] | _Other:
        """Of a plain setting its section, empty for those of the cell itself, its name there, and its value."""
        key, _, given = text.partition("=")
        if key.startswith(("hydra.", "hydra/")) or given in self._groups.get(key, ()):
            return _Other.CHOICE
        if key not in _KNOWN or "$" in text or "???" in text:
            return _Other.UNUSUAL
        if key in self._read_elsewhere:
            return _Other.CHOICE
        try:
            (override,) = OverridesParser.create().parse_overrides([text])
            if override.is_sweep_override():
                return _Other.UNUSUAL
            OmegaConf.update(self._scratch, key, override.value(), merge=True)
        except (HydraException, OmegaConfBaseException):
            return _Other.UNUSUAL
        held = OmegaConf.select(self._scratch, key)  # of the type that the schema says
        section, _, name = key.rpartition(".")
        return section, name, (OmegaConf.to_container(held) if OmegaConf.is_config(held) else held)

    def _whole(self, overrides: Sequence[str]) -> Config:
        try:
            return resolve(self._by_hydra(list(overrides)))
        except InvalidInput:
            raise
        except NOT_COMPOSED as error:
            told = explain(list(overrides), CONF) or InvalidInput(f"{' '.join(overrides)}: {one_line(error)}")
            raise told from error


def _by_hydra(overrides: list[str]) -> DictConfig:
    if GlobalHydra.instance().is_initialized():
        return hydra_compose("config", overrides)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra_compose("config", overrides)


def compose(overrides: Sequence[str]) -> Config:
    """The configuration that a command line of ``run.py`` means.

    Raises:
        InvalidInput: an override is not valid, or the configuration is not.
    """
    return Composer()(quoted(overrides))


def without_hydra(config: DictConfig) -> DictConfig:
    """What of a composed configuration is ours."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
