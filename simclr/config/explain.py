"""What is wrong with a command line that Hydra could not compose, as the person who typed it needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from simclr.config.schema import Config
from simclr.config.setting import settings
from simclr.foundation.errors import InvalidInput, one_line, suggestion


def explain(arguments: list[str], conf: Path) -> InvalidInput | None:
    """What is wrong with a command line that Hydra could not compose, where it is one of the overrides.

    Args:
        arguments: of the command line.
        conf: the folder of configuration groups.

    Returns:
        The error as a person needs it: the key, the value, what is valid; None where the overrides are not to blame.
    """
    overrides = [argument for argument in arguments if not argument.startswith("-")]
    groups = {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in conf.iterdir()}
    for text in overrides:
        try:
            (override,) = OverridesParser.create().parse_overrides([text])
        except HydraException as error:
            return InvalidInput(f"{text}: not understood as KEY=VALUE ({one_line(error)[:150]})")
        for value in _values(override):
            found = _explain_one(override, value, {name: options for name, options in groups.items() if options})
            if found is not None:
                return found
    return None


def _explain_one(override: Override, value: Any, groups: dict[str, list[str]]) -> InvalidInput | None:
    key = override.key_or_group
    if key in groups:
        options = groups[key]
        if value is None or str(value) in options:
            return None
        return InvalidInput(
            f"{key}={value}: there is no such option; valid is {', '.join(options)}.{suggestion(str(value), options)}"
        )
    if key.startswith("hydra") or override.is_add() or override.is_delete():
        return None
    known = {name: field for name, field, _ in settings(Config)}
    if key not in known:
        hint = suggestion(key, [*known, *groups]) or " python run.py --help lists them."
        return InvalidInput(f"{key}={value}: there is no such key.{hint}")
    try:
        OmegaConf.update(OmegaConf.structured(Config), key, value)
    except OmegaConfBaseException:
        valid = known[key].metadata["valid"]
        kind = _KINDS.get(str(known[key].type), str(known[key].type))
        return InvalidInput(f"{key}={value}: valid is {kind}{f', {valid}' if valid else ''}")
    return None


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "int | None": "a whole number or null",
    "list[int]": "a list of whole numbers",
    "list[float]": "a list of numbers",
    "list[Any]": "a list of [side in pixels, share of the steps]",
    "int | str": "a negative index or a name",
    "str": "a name",
}


def _values(override: Override) -> list[Any]:
    if override.is_sweep_override():
        return list(override.sweep_string_iterator()) if override.is_choice_sweep() else []
    return [override.value()]
