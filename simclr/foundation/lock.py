"""Locks that die with their holder: the operating system's own, on a file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def take(path: Path) -> int | None:
    """Take a file's lock if nobody has it: a descriptor to close when it is no longer needed, or None."""
    descriptor = _opened(path)
    if not _locked(descriptor):
        os.close(descriptor)
        return None
    return descriptor


def wait(path: Path) -> int:
    """Take a file's lock, as soon as nobody has it: a descriptor to close when it is no longer needed."""
    descriptor = _opened(path)
    _locked(descriptor, wait=True)
    return descriptor


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Nobody else is in such a block of this file meanwhile."""
    descriptor = wait(path)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def held_where_possible(path: Path, waiting: str, report: Callable[[str], None]) -> Iterator[None]:
    """The same for work that two at once may do without harm: it goes on where a file system has no locks.

    Args:
        path: the lock; made where it is missing, left in place afterwards.
        waiting: the line that is reported when another process holds it.
        report: takes that line.

    Raises:
        OSError: the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _opened(path)
    try:
        try:
            if not _locked(descriptor):
                report(waiting)
                _locked(descriptor, wait=True)
        except OSError as error:  # some network file systems have none
            if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
                raise
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether somebody has a file's lock; a file that is not there has none."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _locked(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _locked(descriptor: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Whether an open file's lock is now this process's."""
    # Only there on POSIX systems, where this is imported when a lock is asked for; the rest of the package is not
    # to depend on that.
    import fcntl

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
