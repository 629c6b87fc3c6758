"""Which class an image's own name tells, where no folder does."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from simclr.foundation.errors import InvalidInput

FIRST_UNDERSCORE, NUMBER = "first_underscore", "number"
PATTERNS = {FIRST_UNDERSCORE: r"(?s)([^_]*)_.*", NUMBER: r"(?s)(.*?)(?:_[^_]*\d[^_]*)*"}
"""Names of two values of ``data.class_pattern``: what stands before the first underscore; without the parts at the end
that have a digit in them."""


def classes_of_names(folder: Path, names: list[str], class_pattern: str | None) -> list[str]:
    """The class of each image by its name, in NFC form."""
    expression = _compiled(class_pattern)
    classes = []
    for name in names:
        match = expression.fullmatch(Path(name).stem)
        if match is None or not match[1]:
            by = f"data.class_pattern={class_pattern} finds " if class_pattern else ""
            raise InvalidInput(
                f"{folder / name}: {by}no class in its name; valid is {folder.name}/<class>/{name} or "
                f"{folder.name}/<class>_{name.lstrip('_')}"
            )
        classes.append(unicodedata.normalize("NFC", match[1]))
    return classes


def _compiled(class_pattern: str | None) -> re.Pattern[str]:
    """An expression for a whole name without its suffix, whose first group is the class."""
    given = FIRST_UNDERSCORE if class_pattern is None else class_pattern
    wrong = f"data.class_pattern={class_pattern}: valid is {FIRST_UNDERSCORE}, {NUMBER}, or a regular expression"
    try:
        expression = re.compile(PATTERNS.get(given, given))
    except re.error as error:
        raise InvalidInput(f"{wrong}: {error}") from error
    if expression.groups == 0:
        raise InvalidInput(f"{wrong} with a group, in (), that is the class")
    return expression


def check_unmistakable(root: Path, named: list[tuple[str, str]]) -> None:
    """Raise where the numbers at the end of the names tell of other classes than their first underscores."""
    others: dict[str, tuple[str, str]] = {}
    numbered = _compiled(NUMBER)
    for name, label in named:
        stem = Path(name).stem
        match = numbered.fullmatch(stem)
        other = unicodedata.normalize("NFC", match[1] if match else stem)
        if other == stem:
            continue  # no number at its end
        known, first = others.setdefault(label, (other, name))
        if known != other:
            raise InvalidInput(
                f"{root}: {first} and {name} are both {label!r} by what stands before the first underscore, and "
                f"{known!r} and {other!r} by what stands before the number; data.class_pattern={FIRST_UNDERSCORE} or "
                f"data.class_pattern={NUMBER} says which"
            )
