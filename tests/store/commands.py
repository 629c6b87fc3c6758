"""``run.py`` as a process that can be watched and stopped, and what it leaves behind."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.mounts import inside

RUN = Path(__file__).parents[2] / "run.py"
TINY = (
    "pretrain.epochs=6",
    "encoder.widths=[8,12]",
    "encoder.blocks=[1,1]",
    "head.hidden=[256,16]",
    "head.output=8",
    "probe.subsets=2",
    "pretrain.checkpoint_minutes=0",  # that is after every step
)
# What is the same each time, of what a record says.
MEASURED = ("status", "error", "name", "cell", "data", "probe", "baselines", "representation")
PRETRAINED = ("key", "epochs", "steps", "loss", "contrastive_accuracy", "precision")


class Command:
    """A started ``run.py``; its output goes to files, so that nobody has to read along.

    Args:
        root: below which it writes.
        overrides: besides ``TINY``.
        work: the folder for its output.
        name: of the files there.
        seen: of ``private_mounts``, to run it among those.
    """

    def __init__(self, root: Path, *overrides: str, work: Path, name: str = "command", seen: Path = Path("/")) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self._seen = seen
        self._out, self._err = work / f"{name}.out", work / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [
                    *(inside(seen) if seen != Path("/") else ()),
                    sys.executable,
                    str(RUN),
                    *TINY,
                    *overrides,
                    f"root={root}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=work,
                env={**os.environ, "COLUMNS": "200"},
            )

    @property
    def errors(self) -> str:
        return self._err.read_text()

    def wait(self, timeout: float = 240) -> int:
        return self.process.wait(timeout)

    def ends_before(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def until(self, happened: Callable[[], Any], pause: float = 0.005) -> bool:
        """Wait for something that it does; False where it ended without."""
        end = time.monotonic() + 240
        while not happened():
            if self.process.poll() is not None:
                return bool(happened())
            assert time.monotonic() < end, f"waited in vain: {self.errors}"
            time.sleep(pause)
        return True

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def record(self) -> dict[str, Any]:
        """Its record, once it has ended well."""
        assert self.wait() == 0, self.errors
        word, path = self._out.read_text().splitlines()[-1].split(" ", 1)
        assert word == "result"
        return json.loads((self._seen / Path(path).relative_to("/")).read_text())


def numbers(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its times."""
    return {
        **{name: record[name] for name in MEASURED},
        "pretraining": {name: record["pretraining"][name] for name in PRETRAINED},
    }


def kept(root: Path) -> dict[str, str]:
    """Of every file of the store and the results whose bytes are to be the same each time, the SHA-256."""
    wanted = ("pretrained/*/*.npz", "pretrained/*/history.csv", "pretrained/*/features/*/*/*.npy", "baselines/*/*.npz")
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in (*wanted, "baselines/*/record.json", "results/*/predictions.npz")
        for path in root.glob(pattern)
        if ".set-aside" not in str(path)
    }


def leftovers(root: Path) -> list[str]:
    """What an unfinished or killed run leaves in the store and no finished one may; not what was set aside."""
    return sorted(
        str(path.relative_to(root))
        for part in ("pretrained", "baselines")
        for path in (root / part).rglob("*")
        if ".set-aside" not in str(path) and (path.name.startswith(".") or path.name == "checkpoint.npz")
    )


def checkpoints(root: Path) -> set[tuple[int, int]]:
    """The checkpoint that is there, so that another one can be told from it."""
    found = set()
    for path in root.glob("pretrained/*/checkpoint.npz"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        found.add((status.st_ino, status.st_mtime_ns))
    return found
