"""One process at a time, by a lock that the operating system takes back from a process that dies."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simclr.data.progress import Report


@contextmanager
def exclusive(file: Path, waiting: str, report: Report) -> Iterator[None]:
    """Hold the lock ``file`` while the block runs, after waiting for whoever holds it.

    Args:
        file: the lock; made where it is missing, left in place afterwards.
        waiting: the line that is reported when another process holds it.
        report: takes that line.

    Raises:
        OSError: the file cannot be made.
    """
    # Only there on POSIX systems, where this is imported when a lock is asked for; the rest of the package is not
    # to depend on that.
    import fcntl

    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(waiting)
            fcntl.flock(held, fcntl.LOCK_EX)
        except OSError as error:
            # Some network file systems have no locks. Two at once are then possible, and not harmful: what they
            # download is verified before it is used.
            if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
                raise
        yield
