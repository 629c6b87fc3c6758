"""Who is at work on what: words, which any number of processes may say, and claims, which one has at a time.

Either is a small file that its process keeps fresh, describes itself in, and takes away in the end. From it anyone who
sees the files, on any machine, can tell who lives: a process that can be seen from here by its number and the time when
it was started, any other one, and one that is suspended, by its silence, in the file server's own time.

A claim is a numbered file in a folder of its own, and the highest number has it. Whoever finds its holder dead makes
the next number, which only one can, and removes the others; a holder that wakes up finds that and stops, and what it
was going to write comes into no place any more (:mod:`.guard`). Of a file system nothing else is asked than that a
file can be made by one alone (``O_EXCL``): no ``flock``, which network file systems lack, and no exchange of names.
What dies leaves a file that the next one removes: nothing is to be cleaned up.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from simclr.foundation.files import make_folder, now, server_time

log = logging.getLogger(__name__)

# Whoever gives no sign of life for so long is taken for dead. Every process has to agree on it.
SILENT_SECONDS = 30.0
HEARTBEAT_SECONDS = 4.0
POLL_SECONDS = 0.2
ROOM = 1024
"""Bytes that a word has from the beginning, so that it grows seldom."""
WORDS = ".at-work-"


class ClaimLost(Exception):
    """Another process has taken over, as this one was silent for too long: its machine slept, or the disk was away."""


@dataclass(frozen=True)
class Process:
    """A process, as every machine can name it.

    Attributes:
        host: the machine's name, or the container's.
        space: what its number is a number of: the machine's boot and its PID namespace; empty where that is not known.
        pid: its number there.
        started: when it was started, in the kernel's ticks; empty where that is not known.
    """

    host: str
    space: str
    pid: int
    started: str

    def runs(self) -> bool | None:
        """Whether it, and no later one of the same number, still runs; None where that cannot be seen from here."""
        if not self.space:
            return _answers(self.pid) if self.host == platform.node() else None
        if self.space != _space():
            return None
        return _answers(self.pid) and _started(self.pid) == self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def this_process() -> Process:
    """The one that asks."""
    return Process(platform.node(), _space(), os.getpid(), _started(os.getpid()))


@dataclass(frozen=True)
class Said:
    """A word or a claim: whose it is, since when (ISO 8601, UTC), whether it still holds, and what it tells."""

    process: Process
    since: str
    alive: bool
    facts: dict[str, Any]

    @property
    def who(self) -> str:
        """The process, its machine, and which of its GPUs it may use where it was told."""
        gpus = self.facts.get("gpus")
        return f"{self.process}{f', GPU {gpus}' if gpus else ''}"

    def __str__(self) -> str:
        since = f", since {datetime.fromisoformat(self.since).astimezone():%Y-%m-%d %H:%M:%S}" if self.since else ""
        return f"{self.process}{since}"


class Word:
    """What this process says of something that it is at, from the beginning to :meth:`end`."""

    def __init__(self, path: Path, **facts: Any) -> None:
        """Begin.

        Raises:
            FileExistsError: somebody has said something of that name.
            OSError: the file cannot be made.
        """
        self.path = path
        self.lost = False
        self.told = False
        """Whether anything was said after the beginning."""
        self._facts = {"process": asdict(this_process()), "since": now(), **facts}
        if gpus := os.environ.get("CUDA_VISIBLE_DEVICES"):
            self._facts["gpus"] = gpus
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        self._said = ROOM
        self._turn = threading.Lock()
        self.tell()
        _pulse().add(self)

    def tell(self, **facts: Any) -> None:
        """Say how far it is; what was said before stays unless it is said anew. What cannot be said is let be."""
        with self._turn:
            self.told = self.told or bool(facts)
            self._facts |= facts
            content = json.dumps({**self._facts, "updated": now()}).encode()
            # In place: a file that another one has removed is not to come back, and readers see one write at a time.
            self._said = max(self._said, len(content))
            try:
                if self._descriptor >= 0:
                    os.pwrite(self._descriptor, content.ljust(self._said), 0)
            except OSError as error:
                log.debug("%s: cannot be told (%s)", self.path, error.strerror)

    def beat(self) -> None:
        """Give a sign of life, and look whether another process has taken over."""
        with self._turn, contextlib.suppress(OSError):  # a disk that is away for a while
            if self._descriptor >= 0:
                os.utime(self._descriptor)
                self.lost = self.lost or self._is_gone()

    def end(self, *, leave: bool = False) -> None:
        """Take the word back; with ``leave``, let it stand as the last one of a process that is no more at it."""
        if leave:
            self.tell(over=True)
        _pulse().discard(self)
        with self._turn, contextlib.suppress(OSError):
            if not leave and not Word._is_gone(self):  # a claim that was taken over is still this one's to remove
                self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1

    def _is_gone(self) -> bool:
        try:
            with self.path.open("rb") as file:  # see :func:`said`
                return not os.path.samestat(os.fstat(file.fileno()), os.fstat(self._descriptor))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
                return True
            raise


class Claim(Word):
    """The right to do something that only one is to do, for as long as it lasts."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number
        super().__init__(folder / str(number))

    def check(self) -> None:
        """To be called before anything is put in place, see :func:`.guard.guarded`.

        Raises:
            ClaimLost: another process has taken over.
        """
        self.lost = self.lost or self._is_gone()
        if self.lost:
            raise ClaimLost

    def end(self, *, leave: bool = False) -> None:
        super().end(leave=leave)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _is_gone(self) -> bool:
        return super()._is_gone() or max(_numbers(self._folder), default=self._number) > self._number


def take(folder: Path) -> Claim | None:
    """The claim whose files are in a folder; None where somebody alive has it.

    Raises:
        OSError: it cannot be written down.
    """
    make_folder(folder)
    there = _numbers(folder)
    last = said(folder / str(there[-1])) if there else None
    if there and (last is None or last.alive):  # just gone: the next one that asks will see
        return None
    number = there[-1] + 1 if there else 1
    try:
        claim = Claim(folder, number)
    except (FileExistsError, FileNotFoundError):  # somebody else was first, or let go and removed the folder
        return None
    others = [each for each in _numbers(folder) if each != number]
    # Between the look and the claim others may have taken it and let go, and it may be anyone's by now.
    if any(each > number or _is_alive(folder / str(each)) for each in others):
        claim.end()
        return None
    for each in others:
        (folder / str(each)).unlink(missing_ok=True)
    return claim


def holder(folder: Path) -> Said | None:
    """Who has a claim, or had it last and left it standing; None where nobody has. Takes nothing."""
    there = _numbers(folder)
    return said(folder / str(there[-1])) if there else None


@contextmanager
def held(folder: Path, waiting: Callable[[Said], None] = lambda _: None) -> Iterator[Claim]:
    """Nobody else is in such a block of this folder meanwhile.

    Args:
        folder: of the claim.
        waiting: called once where another process has it.

    Raises:
        OSError: it cannot be written down.
    """
    told = False
    while (claim := take(folder)) is None:
        if not told and (other := holder(folder)) is not None:
            waiting(other)
            told = True
        time.sleep(POLL_SECONDS / 10)
    try:
        yield claim
    finally:
        claim.end()


@contextmanager
def at_work(folder: Path, **facts: Any) -> Iterator[Word | None]:
    """Say in a folder that this process is at what lies there; None where that cannot be said, which is no obstacle."""
    word = None
    try:
        make_folder(folder)
        for path in folder.glob(f"{WORDS}*"):
            if not _is_alive(path):
                path.unlink(missing_ok=True)
        word = Word(folder / f"{WORDS}{secrets.token_hex(4)}", **facts)
    except OSError as error:
        log.warning("%s: cannot be written to (%s), so that nobody sees how far this is", folder, error.strerror)
    try:
        yield word
    finally:
        if word is not None:
            word.end()
            with contextlib.suppress(OSError):  # where nothing was recorded, nothing is left
                folder.rmdir()


def words(folder: Path) -> list[Said]:
    """What processes say, or said before they died, of what lies in a folder; those that live first."""
    found = [each for path in sorted(folder.glob(f"{WORDS}*")) if (each := said(path)) is not None]
    return sorted(found, key=lambda each: (not each.alive, each.since))


def said(path: Path) -> Said | None:
    """A word or a claim; None where there is none. Of one that was not written to its end nothing is known."""
    try:
        # Opening it asks a network's server, where a look at its name would be answered from memory.
        with path.open("rb") as file:
            content, status = file.read(), os.fstat(file.fileno())
        # The clock is looked at beside the folder: a file in there would keep it when its holder lets go.
        silent = server_time(path.parents[1]) - status.st_mtime >= SILENT_SECONDS
    except OSError:
        return None
    try:
        facts = json.loads(content)
        process, since = Process(**facts.pop("process")), str(facts.pop("since"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Said(Process("an unknown machine", "unknown", 0, ""), "", not silent, {})
    alive = not silent and not facts.get("over") and process.runs() is not False
    return Said(process, since, alive, facts)


class _Pulse:
    """The thread that gives a sign of life for all words of this process."""

    def __init__(self) -> None:
        self._words: set[Word] = set()
        self._turn = threading.Lock()
        threading.Thread(target=self._beat, name="at work", daemon=True).start()

    def add(self, word: Word) -> None:
        with self._turn:
            self._words.add(word)

    def discard(self, word: Word) -> None:
        with self._turn:
            self._words.discard(word)

    def _beat(self) -> None:
        while True:
            time.sleep(HEARTBEAT_SECONDS)
            with self._turn:
                words = list(self._words)
            for word in words:
                word.beat()


def _pulse() -> _Pulse:
    return _pulse_of(os.getpid())  # a thread is not there any more in a process that was forked


@cache
def _pulse_of(_: int) -> _Pulse:
    return _Pulse()


def _numbers(folder: Path) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(folder) if name.isdecimal())  # noqa: PTH208 (names alone)
    except OSError:
        return []


def _is_alive(path: Path) -> bool:
    found = said(path)
    return found is not None and found.alive


@cache
def _space() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux
        return ""


def _answers(pid: int) -> bool:
    """Whether a process of that number runs; one that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    try:
        return _fields(pid)[0] != "Z"
    except (OSError, IndexError):  # no Linux, or gone in this moment
        return True


def _started(pid: int) -> str:
    try:
        return _fields(pid)[19]
    except (OSError, IndexError):
        return ""


def _fields(pid: int) -> list[str]:
    """Of ``/proc/<pid>/stat``, those after the name."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
