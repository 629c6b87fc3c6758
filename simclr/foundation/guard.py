"""A folder that is one process's to write to, for as long as it has the claim."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_checks: dict[Path, Callable[[], None]] = {}
"""By guarded folder."""


@contextmanager
def guarded(folder: Path, check: Callable[[], None]) -> Iterator[None]:
    """Let nothing come into place in a folder, or below it, unless ``check`` allows it, by not raising.

    Whoever was allowed to may be suspended in that very instant, and wake up when another process has taken over. What
    it was to put in place then lies beside that place under a name of its own (:func:`.files.whole_file`), and the
    other process has begun with removing such files: there is nothing left to be put in place.

    The folder may be missing. ``check`` is as :meth:`.work.Claim.check`.

    Raises:
        OSError: what others left half-written cannot be removed.
    """
    for parent, _, names in os.walk(folder):
        for name in fnmatch.filter(names, ".*.*"):
            Path(parent, name).unlink(missing_ok=True)
    _checks[folder.absolute()] = check
    try:
        yield
    except OSError:  # such as that what was to be put in place is gone
        check()
        raise
    finally:
        _checks.pop(folder.absolute(), None)


def ask(path: Path) -> None:
    """Whether something may come into place at a path, or be moved away from there; raises what ``check`` raises."""
    for each in (path.absolute(), *path.absolute().parents):
        if (check := _checks.get(each)) is not None:
            check()
