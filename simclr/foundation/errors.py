"""What goes wrong, told to the person who can mend it: one line, with what was given and what is valid."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InvalidInput(ValueError):
    """A configuration or a data set that cannot be run: nothing was started (exit code 2).

    The message is one line: the key, its value, what is wrong with it and what would be valid.
    """


class RunFailed(RuntimeError):
    """A run that started and could not finish (exit code 1), with the reason and what to try.

    ``path`` is that of the record that says so, where one could be written.
    """

    path: str | None = None


class StoppedEarly(Exception):
    """A search has seen enough of a cell; says why. The cell is recorded as skipped."""


def one_line(error: BaseException | str) -> str:
    """A message without line breaks or runs of spaces; of an exception without one, the name of its type."""
    return " ".join(str(error).split()) or type(error).__name__


def suggestion(given: str, valid: Iterable[str]) -> str:
    """``' Did you mean "relu_1"?'`` where a valid name is near the one given, else nothing."""
    nearest = get_close_matches(given, list(valid), n=1, cutoff=0.6)
    return f' Did you mean "{nearest[0]}"?' if nearest else ""
