"""A setting of the schema: what it decides, which values it takes, and when it counts.

What a setting decides (:class:`Decides`) is said on its field: the pretrained weights, the cell only, or nothing that
is measured. The identity of cells and pretrainings (:mod:`simclr.config.cell`) follows from that alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter
from pathlib import Path
from typing import Any


class Decides(Enum):
    """What changing a setting can change."""

    WEIGHTS = "the pretrained weights, and with them every cell that uses them"
    IMAGES = "which images there are, whose content decides"
    CELL = "what is measured on given weights"
    NOTHING = "where and how the work is done, not its result"


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, the ends included unless ``above`` excludes the lower one."""

    low: float
    high: float = math.inf
    unit: str = ""
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return math.isfinite(value) and (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        lower = f"more than {self.low:,}" if self.above else f"at least {self.low:,}"
        upper = f", at most {self.high:,}" if math.isfinite(self.high) else ""
        return f"{lower}{upper}{' ' + self.unit if self.unit else ''}"


@dataclass(frozen=True)
class OneOf:
    """One of a few names, or with ``hub`` ``OWNER/NAME``."""

    names: tuple[str, ...]
    hub: bool = False

    def __contains__(self, value: str) -> bool:
        return value in self.names or (self.hub and "/" in value)

    def __str__(self) -> str:
        return ", ".join(self.names) + (", or OWNER/NAME of the Hugging Face hub" if self.hub else "")


def setting(
    default: Any,
    decides: Decides,
    valid: Range | OneOf | None = None,
    unit: str = "",
    counts: Callable[[Any], bool] = lambda _: True,
) -> Any:
    """A field of the schema: its default, what it decides, which values it takes (each one, for a list).

    ``unit`` is for one that the range does not name. ``counts`` says of a section whether the field decides anything
    there, or whether another one makes it idle.
    """
    metadata = {"decides": decides, "valid": valid, "unit": unit, "counts": counts}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def options(group: str) -> OneOf | None:
    """The options of a configuration group, which are its files; None where this is installed without them."""
    names = sorted(file.stem for file in (Path(__file__).parents[2] / "conf" / group).glob("*.yaml"))
    return OneOf(tuple(name for name in names if name != "hub"), "hub" in names) if names else None


def settings(config: Any) -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """Every setting of a schema class or object: its dotted key, its field, its value (None of a class)."""
    for declared in dataclasses.fields(config):
        value = None if isinstance(config, type) else getattr(config, declared.name)
        if "decides" in declared.metadata:
            yield declared.name, declared, value
        else:
            for key, inner, item in settings(declared.default_factory if value is None else value):
                yield f"{declared.name}.{key}", inner, item


def decisive(config: Any, decides: Decides) -> dict[str, Any]:
    """The settings that decide something, by dotted key, without those that another one of their section makes idle."""
    found = {}
    for key, declared, value in settings(config):
        section, _, _ = key.rpartition(".")
        holder = attrgetter(section)(config) if section else config
        if declared.metadata["decides"] is decides and declared.metadata["counts"](holder):
            found[key] = value
    return found


KINDS = {
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "int | str": "a negative index or a name",
    "list[Any]": "a list of [side in pixels, share of the steps]",
    "list[float]": "a list of numbers",
    "list[int]": "a list of whole numbers",
    "list[str]": "a list of texts",
    "str": "a text",
}


def kind(declared: dataclasses.Field[Any]) -> str:
    """A field's type in words."""
    base = str(declared.type).removesuffix(" | None")
    return KINDS[base] + (" or null" if base != declared.type else "")
