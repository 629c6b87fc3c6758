"""Who is at a cell right now, and how far: a small file beside its record, there for as long as somebody is.

Anyone who sees the files can tell what thousands of jobs are doing. A job that was killed leaves its file behind, whose
time of change then no longer moves.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from simclr.foundation.files import now, write_whole

HEARTBEAT_SECONDS = 5.0
SILENT_SECONDS = 60.0
"""A process of another machine that has given no sign of life for so long is taken for dead."""


class Presence:
    """Says that this process is at something, from ``with`` to its end, and what it needs; ``tell`` says how far."""

    def __init__(self, path: Path, **facts: Any) -> None:
        self._path = path
        self._facts: dict[str, Any] = {"host": platform.node(), "pid": os.getpid(), "since": now(), **facts}
        if gpus := os.environ.get("CUDA_VISIBLE_DEVICES"):
            self._facts["gpus"] = gpus
        self._over = threading.Event()

    def __enter__(self) -> Presence:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.tell()
        threading.Thread(target=self._beat, name="presence", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # where nothing was recorded, nothing is left
            self._path.parent.rmdir()

    def tell(self, **facts: Any) -> None:
        """Say what is being done and how far it is; what was said before stays unless it is said anew."""
        self._facts |= facts
        write_whole(self._path, json.dumps({**self._facts, "updated": now()}).encode())

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            try:
                os.utime(self._path)
            except OSError:  # a disk that is away for a while, or the file removed by hand
                continue


@dataclass(frozen=True)
class Seen:
    """What a presence file says, and whether whoever wrote it still lives as far as can be seen here."""

    facts: dict[str, Any]
    alive: bool

    @property
    def who(self) -> str:
        """The process, its machine, and which of its GPUs the process may use where it was told."""
        gpus = f", GPU {self.facts['gpus']}" if self.facts.get("gpus") else ""
        return f"process {self.facts.get('pid')} on {self.facts.get('host')}{gpus}"


def seen(path: Path) -> Seen | None:
    """Who is, or was when it was killed, at something; None where nobody is."""
    try:
        facts = json.loads(path.read_bytes())
        age = time.time() - path.stat().st_mtime
        host, pid = facts["host"], int(facts["pid"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Seen(facts, age < SILENT_SECONDS and (host != platform.node() or runs(pid)))


def runs(pid: int) -> bool:
    """Whether a process of that number runs on this machine; one that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except (OSError, IndexError):  # not Linux, or gone in this moment
        return True
