"""One process at a time makes a thing that many need; the others wait for it, and take over if the maker dies.

Check, lock, check again. The lock is filelock's lease: a marker file, made with ``O_EXCL`` and kept fresh by its
holder, which needs nothing else of a file system (NFS included). On the same machine a dead holder is known by its
process number at once; from another one by its silence. What dies leaves a marker that the next one takes: nothing is
ever to be cleaned up by hand.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from simclr.foundation.errors import RunFailed
from simclr.foundation.files import now, write_whole
from simclr.foundation.presence import runs

# A holder that has given no sign of life for so long has lost its claim. Every process has to agree on it.
LEASE_SECONDS = 20.0
HEARTBEAT_SECONDS = 4.0
POLL_SECONDS = 0.2

Report = Callable[[str], None]

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Place:
    """A thing that is made once.

    Attributes:
        what: it is called.
        marker: the file that is there while somebody is at it.
        progress: the file in which its maker writes down how far it is.
    """

    what: str
    marker: Path
    progress: Path


class ClaimLost(Exception):
    """Another process has taken over, as this one was silent for too long: its machine slept, or the disk was away."""


@dataclass(frozen=True)
class Holder:
    """Who is at a thing, since when (ISO 8601, UTC), and what it last told of its progress."""

    host: str
    pid: int
    since: str | None
    alive: bool
    progress: dict[str, Any]

    def __str__(self) -> str:
        since = f", since {datetime.fromisoformat(self.since).astimezone():%Y-%m-%d %H:%M:%S}" if self.since else ""
        return f"process {self.pid} on {self.host}{since}"


class Claim:
    """The right to make a thing, as long as it lasts."""

    def __init__(self, lease: SoftFileLease, progress: Path) -> None:
        self._lease, self._progress, self._since = lease, progress, now()
        self.tell()

    def check(self) -> None:
        """To be called before anything is published.

        Raises:
            ClaimLost: another process has taken over.
        """
        owner = self._lease.owner
        if self._lease.compromise is not None or owner is None or owner.token != self._lease.token:
            raise ClaimLost

    def tell(self, **facts: Any) -> None:
        """Write down, for others to read, who is at it and how far it is."""
        who = {"host": platform.node(), "pid": os.getpid(), "since": self._since, "updated": now()}
        write_whole(self._progress, json.dumps({**who, **facts}).encode())


def obtain(
    place: Place,
    find: Callable[[], Thing | None],
    make: Callable[[Claim], Thing],
    report: Report,
    meanwhile: Callable[[], bool] | None = None,
    *,
    wait: bool = True,
) -> Thing | None:
    """The thing that ``find`` finds, made by ``make`` if no process has made it or is at it.

    Args:
        place: what it is called, and where its claim is marked.
        find: looks for the finished thing; cheap, as it is called again and again while waiting.
        make: makes it, and calls ``claim.check()`` before it publishes.
        report: takes what there is to say, a line at a time.
        meanwhile: called while another process is at it: does something else that is useful and returns True, or
            returns False where there is nothing, and then it is waited for.
        wait: for another process that is at it.

    Returns:
        The thing; None where another process is at it and ``wait`` is False.

    Raises:
        RunFailed: the claim cannot be written down.
        Exception: whatever ``make`` raises, after the claim has been given back.
    """
    waited_for: Holder | None = None
    lease = _lease(place.marker)
    while (found := find()) is None:
        try:
            place.progress.parent.mkdir(parents=True, exist_ok=True)
            lease.acquire(timeout=0)
        except Timeout:
            _remove_unwritten(place.marker)
            if not wait:
                return None
            other = holder(place)
            if other is not None and (waited_for is None or other.pid != waited_for.pid):
                waited_for = other
                report(f"waiting for {place.what}: {other} is at it")
            if meanwhile is None or not meanwhile():
                meanwhile = None  # there is nothing, and nothing is going to be added
                time.sleep(POLL_SECONDS)
            continue
        except LeaseSettingsMismatch as error:
            raise RunFailed(f"{place.marker}: held by another version of this program") from error
        except OSError as error:
            raise RunFailed(f"{place.marker.parent}: cannot be written to ({error.strerror})") from error
        try:
            if (found := find()) is None:
                if waited_for is not None:
                    report(
                        f"taking over {place.what}: process {waited_for.pid} on {waited_for.host} left it unfinished"
                    )
                found = make(Claim(lease, place.progress))
                place.progress.unlink(missing_ok=True)
            return found
        except ClaimLost:
            report(f"giving way at {place.what}: another process took over while this one was silent")
        finally:
            lease.release()
    return found


@contextlib.contextmanager
def at_rest(marker: Path) -> Iterator[bool]:
    """Keep a thing from being made for as long as the block lasts; False where somebody is at it.

    Raises:
        OSError: the claim cannot be written down.
    """
    lease = _lease(marker)
    try:
        lease.acquire(timeout=0)
    except (Timeout, LeaseSettingsMismatch):
        yield False
        return
    try:
        yield True
    finally:
        lease.release()


def tidy(place: Place) -> None:
    """Remove what a process left that was killed after it had finished the thing."""
    found = holder(place)
    if found is not None and not found.alive:
        with contextlib.suppress(OSError), at_rest(place.marker) as nobody:
            if nobody:
                place.progress.unlink(missing_ok=True)


def untold(place: Place) -> None:
    """Take back what was told of a thing that this process did not begin after all."""
    place.progress.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        place.progress.parent.rmdir()


def holder(place: Place) -> Holder | None:
    """Who is at a thing, None where nobody is. Takes nothing and writes nothing."""
    try:
        owner = _lease(place.marker).owner
        age = time.time() - place.marker.stat().st_mtime
    except OSError:
        return None
    if owner is None:
        return None
    told = told_progress(place)
    if (told.get("host"), told.get("pid")) != (owner.hostname, owner.pid):
        told = {}
    alive = age < 3 * LEASE_SECONDS and (owner.hostname != platform.node() or runs(owner.pid))
    return Holder(owner.hostname, owner.pid, told.get("since"), alive, told)


def told_progress(place: Place) -> dict[str, Any]:
    """What the last process that was at a thing wrote down about it; empty where there is nothing."""
    try:
        told = json.loads(place.progress.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _lease(marker: Path) -> SoftFileLease:
    return SoftFileLease(marker, lease_duration=LEASE_SECONDS, heartbeat_interval=HEARTBEAT_SECONDS, thread_local=False)


def _remove_unwritten(marker: Path) -> None:
    """A process killed between making its marker and writing it leaves one that filelock waits for without end."""
    with contextlib.suppress(OSError):
        found = marker.stat()
        if found.st_size == 0 and time.time() - found.st_mtime > LEASE_SECONDS:
            marker.unlink()
