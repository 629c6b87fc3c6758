"""What is wrong with a command line that Hydra could not compose, as the person who typed it needs it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString, Transformer
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from simclr.config.schema import Config
from simclr.config.setting import kind, settings
from simclr.foundation.errors import InvalidInput, one_line, suggestion

NULLABLE = ("experiment", "transfer", "recorded")
"""Groups of which none need be chosen."""


def explain(arguments: list[str], conf: Path) -> InvalidInput | None:
    """What is wrong with a command line that Hydra could not compose of the groups in ``conf``, as a person needs it.

    That is the key, the value, and what is valid; None where the overrides are not to blame.
    """
    given = get_args_parser().parse_intermixed_args(arguments)
    if given.config_name not in (None, "config"):
        return InvalidInput(
            f"--config-name={given.config_name}: there is no such configuration; valid is config, or leave it out"
        )
    groups = options_of(conf)
    for text in given.overrides:
        try:
            (override,) = OverridesParser.create().parse_overrides([text])
            values = _values(override, groups.get(override.key_or_group, ()))
        except HydraException as error:
            return InvalidInput(_not_understood(text, error, free=text.partition("=")[0] not in groups))
        except InvalidInput as error:
            return error
        for value in values:
            found = _explain_one(override, value, {name: options for name, options in groups.items() if options})
            if found is not None:
                return found
    return None


def options_of(conf: Path) -> dict[str, list[str]]:
    """The configuration groups below a folder, each with its options, sorted."""
    return {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in conf.iterdir()}


def several(override: Override, options: Sequence[str]) -> list[str]:
    """The values of an override that has several, as they are typed; ``options`` are those of the group it may choose.

    Raises:
        InvalidInput: there is none.
    """
    chosen = override.value()
    if isinstance(chosen, Glob):
        found = chosen.filter(list(options))
    else:
        found = [str(value) for value in override.sweep_iterator(transformer=Transformer.encode)]
    if not found:
        there = f"; there is {', '.join(options)}" if options else ""
        raise InvalidInput(f"{override.input_line}: this matches nothing{there}")
    return found


def _not_understood(text: str, error: HydraException, *, free: bool) -> str:
    """Of a text that Hydra's grammar refuses: the line to type, where its value is to blame and may be any text."""
    key, equals, value = text.partition("=")
    if not equals:
        return f"{text}: not understood as KEY=VALUE"
    quote = Quote.single if '"' in value else Quote.double
    quoted = f"{key}={QuotedString(text=value, quote=quote).with_quotes()}"
    try:
        OverridesParser.create().parse_overrides([quoted] if free else [text])
    except HydraException:
        return f"{text}: not understood as KEY=VALUE ({one_line(error)[:150]})"
    return f"{text}: some of its characters mean something to Hydra; type {shlex.quote(quoted)}"


def _explain_one(override: Override, value: Any, groups: dict[str, list[str]]) -> InvalidInput | None:
    key, text = override.key_or_group, "null" if value is None else value
    known = {name: field for name, field, _ in settings(Config)}
    if key.startswith("hydra"):
        return None
    if override.is_add() or override.is_delete():
        added = f"+{key}={text}: it is there already; type {key}={text}"
        told = added if override.is_add() else f"~{key}: it cannot be taken away; type {key}=VALUE"
        return InvalidInput(told) if key in known or key in groups else None
    if key in groups:
        return _explain_option(key, str(text), groups[key])
    if key not in known:
        hint = suggestion(key, [*known, *groups]) or " python run.py --help lists them."
        return InvalidInput(f"{key}={text}: there is no such key.{hint}")
    try:
        OmegaConf.update(OmegaConf.structured(Config), key, value)
    except OmegaConfBaseException:
        valid = known[key].metadata["valid"]
        return InvalidInput(f"{key}={text}: valid is {kind(known[key])}{f', {valid}' if valid else ''}")
    return None


def _explain_option(group: str, given: str, options: list[str]) -> InvalidInput | None:
    if given in options:
        return None
    if given == "null" and group in NULLABLE:
        return InvalidInput(f"{group}=null: that is how it is unless another one is chosen; leave it out")
    near = suggestion(given, options)
    return InvalidInput(f"{group}={given}: there is no such option; valid is {', '.join(options)}.{near}")


def _values(override: Override, options: Sequence[str]) -> Sequence[Any]:
    if override.is_choice_sweep():
        return several(override, options)
    return [] if override.is_sweep_override() else [override.value()]
