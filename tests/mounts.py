"""Disks that are small, full or read-only: mounted where only this test sees them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def private_mounts(command: str) -> Iterator[Path]:
    """Run mount commands in a mount namespace of their own.

    Yields:
        The root of the file system as it is seen there: ``seen / path.relative_to("/")`` is ``path`` with the mounts.
        (What resolves symbolic links, as locks do, leaves it; a process started with :func:`inside` is really there.)
    """
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare(1) here, and no mounting without it")
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    keeper = subprocess.Popen(
        [*unshare, "sh", "-c", f"set -e; {command}; echo mounted; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    assert keeper.stderr is not None
    try:
        if keeper.stdout.readline() != "mounted\n":
            pytest.skip(f"mounting is not permitted here: {keeper.stderr.read().strip()}")
        yield Path(f"/proc/{keeper.pid}/root")
    finally:
        keeper.stdin.close()
        keeper.wait()


def inside(seen: Path) -> list[str]:
    """What to put before a command so that it runs where :func:`private_mounts` has mounted."""
    user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
    return ["nsenter", "--target", seen.parts[2], *user, "--mount"]


class SmallDisk:
    """A disk of a few MB that can be filled up to what is to be left.

    Attributes:
        seen: the root of the file system with the disk in it.
        path: the disk, as seen from here.
    """

    def __init__(self, seen: Path, point: Path) -> None:
        self.seen, self.path = seen, seen / point.relative_to("/")
        self._filler = self.path / "filler"

    def free(self) -> int:
        """Bytes that can still be written."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def leave(self, size: int) -> None:
        """Fill it so that ``size`` bytes, rounded to whole pages, are left."""
        self._filler.unlink(missing_ok=True)
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(self.free() - size, 1))

    def make_room(self) -> None:
        """Take away what fills it."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(point: Path, megabytes: int = 64) -> Iterator[SmallDisk]:
    """An empty disk of that size in memory, mounted on the empty folder ``point``."""
    with private_mounts(f"mount -t tmpfs -o size={megabytes}m tmpfs '{point}'") as seen:
        yield SmallDisk(seen, point)
