"""Folders that appear whole or not at all: filled under another name, then renamed."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".partial"
SET_ASIDE = ".set-aside"
STALE_SECONDS = 3600


@contextmanager
def unfinished_folder(place: Path) -> Iterator[Path]:
    """An empty folder beside ``place`` to fill; what is still there under its name at the end is removed."""
    folder = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}{UNFINISHED}")
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, place: Path) -> bool:
    """Give a finished folder its name; False, and nothing done, where another process was first.

    Raises:
        OSError: the folder cannot be renamed for another reason.
    """
    try:
        folder.rename(place)
    except OSError:
        if not place.is_dir():
            raise
        return False
    return True


def set_aside(place: Path) -> Path:
    """Move a broken folder out of the way, where a person can look at it; only the latest one is kept.

    Raises:
        OSError: it cannot be moved.
    """
    aside = place.with_name(place.name + SET_ASIDE)
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    else:
        aside.unlink(missing_ok=True)
    return place.rename(aside)


def remove_stale(parent: Path) -> None:
    """Remove what killed processes left unfinished in ``parent``: folders in which nothing has changed for an hour.

    A live process adds to its folder all the time, and its age is the one sign of life that other machines on a
    shared file system see too.
    """
    for folder in parent.glob(f".*{UNFINISHED}"):
        try:
            latest = max(each.stat().st_mtime for each in (folder, *folder.rglob("*")))
        except OSError:
            continue
        if time.time() - latest > STALE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
