"""One process at a time makes a thing that many need; the others wait for it, and take over if the maker dies."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from simclr.foundation import work
from simclr.foundation.errors import RunFailed
from simclr.foundation.guard import guarded
from simclr.foundation.work import Claim, ClaimLost, Said

CLAIM = ".claim"

Report = Callable[[str], None]

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Place:
    """A thing that is made once: what it is called, and its folder."""

    what: str
    folder: Path

    @property
    def claim(self) -> Path:
        """The folder of its claim."""
        return self.folder.with_name(f".{self.folder.name}{CLAIM}")


def made_once(
    place: Place,
    find: Callable[[], Thing | None],
    make: Callable[[Claim], Thing],
    report: Report,
    meanwhile: Callable[[], bool] | None = None,
    idle: Callable[[], None] = lambda: None,
    *,
    wait: bool = True,
) -> Thing | None:
    """The thing that ``find`` finds, made by ``make`` if no process has made it or is at it.

    Args:
        place: what it is called, and where it is.
        find: looks for the finished thing; not while another process is at it.
        make: makes it in its folder, where nothing more comes into place once another process has taken over.
        report: takes what there is to say, a line at a time.
        meanwhile: called while another process is at it: does something else that is useful and returns True, or
            returns False where there is nothing, and then it is waited for.
        idle: called a few times a second while it is waited for; may raise.
        wait: for another process that is at it.

    Returns:
        The thing; None where another process is at it and ``wait`` is False.

    Raises:
        RunFailed: the claim cannot be written down.
        Exception: whatever ``make`` raises, after the claim has been given back.
    """
    waited_for: Said | None = None
    while (found := find()) is None:
        try:
            claim = work.take(place.claim)
        except OSError as error:
            raise RunFailed(f"{place.claim.parent}: cannot be written to ({error.strerror})") from error
        if claim is None:
            if not wait:
                return None
            other = work.holder(place.claim)
            if other is not None and other.alive and (waited_for is None or other.process != waited_for.process):
                waited_for = other
                report(f"waiting for {place.what}: {other} is at it")
            if meanwhile is None or not meanwhile():
                meanwhile = None  # there is nothing, and nothing is going to be added
                _wait(place, other, idle)
            continue
        undone = True
        try:
            with guarded(place.folder, claim.check):
                if (found := find()) is None:
                    if waited_for is not None:
                        report(f"taking over {place.what}: {waited_for.process} left it unfinished")
                    found = make(claim)
            undone = False
            return found
        except ClaimLost:
            undone = False
            report(f"giving way at {place.what}: another process took over while this one was silent")
        finally:
            # How far it came is left for others to read, where something was begun.
            claim.end(leave=undone and claim.told)
    return found


def _wait(place: Place, other: Said | None, idle: Callable[[], None]) -> None:
    """Until another one than this has the claim, or nobody alive."""
    while True:
        idle()
        time.sleep(work.POLL_SECONDS)
        now = work.holder(place.claim)
        if now is None or not now.alive or other is None or now.process != other.process:
            return


@contextlib.contextmanager
def at_rest(place: Place) -> Iterator[bool]:
    """Keep a thing from being made for as long as the block lasts; False where somebody is at it.

    Raises:
        OSError: the claim cannot be written down.
    """
    claim = work.take(place.claim)
    try:
        yield claim is not None
    finally:
        if claim is not None:
            claim.end()


def tidy(place: Place) -> None:
    """Remove what a process left that was killed after it had finished the thing."""
    last = work.holder(place.claim)
    if last is not None and not last.alive:
        with contextlib.suppress(OSError), at_rest(place):
            pass
