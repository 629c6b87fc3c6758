"""Which class an image's own name tells, where no folder does."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

from simclr.foundation.errors import InvalidInput

FIRST_UNDERSCORE, NUMBER = "first_underscore", "number"
"""Names of two patterns, for ``data.class_pattern``: what stands before the first underscore, before the numbers."""


def classes_of_names(folder: Path, names: list[str], class_pattern: str | None) -> list[str]:
    """The class of each image by its name, in NFC form."""
    chosen = _rule(class_pattern)
    classes = []
    for name in names:
        label = chosen(name)
        if not label:
            by = f"data.class_pattern={class_pattern} finds " if class_pattern else ""
            raise InvalidInput(
                f"{folder / name}: {by}no class in its name; valid is {folder.name}/<class>/{name} or "
                f"{folder.name}/<class>_{name.lstrip('_')}"
            )
        classes.append(unicodedata.normalize("NFC", label))
    return classes


def _rule(class_pattern: str | None) -> Callable[[str], str | None]:
    """What tells the class of a file's name, None where it has none."""
    if class_pattern in (None, FIRST_UNDERSCORE):
        return _before_underscore
    if class_pattern == NUMBER:
        return _before_numbers
    wrong = f"data.class_pattern={class_pattern}: valid is {FIRST_UNDERSCORE}, {NUMBER}, or a regular expression"
    try:
        expression = re.compile(class_pattern)
    except re.error as error:
        raise InvalidInput(f"{wrong}: {error}") from error
    if expression.groups == 0:
        raise InvalidInput(f"{wrong} with a group, in (), that is the class")

    def first_group(name: str) -> str | None:
        match = expression.fullmatch(Path(name).stem)
        return match[1] if match else None

    return first_group


def _before_underscore(name: str) -> str | None:
    label, underscore, _ = name.partition("_")
    return label if underscore else None


def _before_numbers(name: str) -> str | None:
    """Without the parts at its end that have a digit in them; of a name that has none there, all of it."""
    parts = Path(name).stem.split("_")
    while len(parts) > 1 and any(letter.isdecimal() for letter in parts[-1]):
        parts.pop()
    return "_".join(parts)


def check_unmistakable(root: Path, named: list[tuple[str, str]]) -> None:
    """Raise where the numbers at the end of the names tell of other classes than their first underscores."""
    others: dict[str, tuple[str, str]] = {}
    for name, label in named:
        other = unicodedata.normalize("NFC", _before_numbers(name) or "")
        if other == Path(name).stem:
            continue  # no number at its end
        known, first = others.setdefault(label, (other, name))
        if known != other:
            raise InvalidInput(
                f"{root}: {first} and {name} are both {label!r} by what stands before the first underscore, and "
                f"{known!r} and {other!r} by what stands before the number; data.class_pattern={FIRST_UNDERSCORE} or "
                f"data.class_pattern={NUMBER} says which"
            )
