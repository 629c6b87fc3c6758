"""A grid as its users start it: a process with a terminal's process group, watched through the files it writes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simclr.foundation.machine import cpus
from simclr.foundation.work import WORDS, said

REPOSITORY = Path(__file__).parents[2]
RUN = (str(REPOSITORY / "run.py"), "-m")
SWEEP = ("-m", "simclr.sweep")

TINY = (
    "pretrain.epochs=2",
    "encoder.widths=[8,12]",
    "encoder.blocks=[1,1]",
    "head.hidden=[32,16]",
    "head.output=8",
    "probe.subsets=2",
)
HALF = max(1, cpus() // 2)
"""Threads of each of two workers that share this machine."""

GRID = ("head=zero_relu,one_relu,two_relu", "probe.layer=-2,-4,-6")
LONG = "pretrain.epochs=5000"
"""Epochs that nobody waits for: a pretraining that is always in its middle."""

SAME = ("status", "error", "name", "cell", "data", "probe", "baselines", "representation")

SMALL = "".join(f"      - {text}\n" for text in TINY)

ABLATION = f"""
    program: run.py
    method: grid
    name: ablation
    metric: {{name: probe/test_accuracy, goal: maximize}}
    parameters:
      head: {{values: [zero_relu, one_relu, two_relu]}}
      probe.layer: {{values: [-2, -4, -6]}}
    command:
      - ${{env}}
      - ${{interpreter}}
      - ${{program}}
{SMALL}      - on_invalid=skip
      - ${{args_no_hyphens}}
"""


class Command:
    """A started grid; its output goes to files, so that nobody has to read along.

    Args:
        program: ``RUN`` or ``SWEEP``.
        arguments: of it.
        work: the folder that it runs in; it writes below ``runs`` there.
        variables: of its environment, besides those of this process.
    """

    def __init__(self, program: tuple[str, ...], *arguments: str, work: Path, **variables: str) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.root = work / "runs"
        self._out, self._err = work / f"{time.monotonic_ns()}.out", work / f"{time.monotonic_ns()}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=work,
                env={**os.environ, "COLUMNS": "200", **variables},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def errors(self) -> str:
        return self._err.read_text()

    def code(self, timeout: float = 300) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(timeout)

    def done(self) -> Command:
        """Itself, once it has ended well."""
        assert self.code() == 0, self.output + self.errors
        return self

    def until(self, happened: Callable[[], Any], pause: float = 0.05) -> Any:
        """Wait for something that comes of it, and return that."""
        end = time.monotonic() + 240
        while not (found := happened()):
            assert self.process.poll() is None, f"it ended: {self.output + self.errors}"
            assert time.monotonic() < end, f"waited in vain: {self.output + self.errors}"
            time.sleep(pause)
        return found

    def until_it_trains(self, cells: int = 1) -> list[dict[str, Any]]:
        """Wait until so many cells are in the middle of their pretraining; what they tell of themselves."""
        return self.until(lambda: len(found := training(self.root)) >= cells and found)

    def interrupt(self) -> None:
        """Ctrl-C on its terminal, which reaches the whole process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> None:
        """Whatever is left of it and of its workers, which are in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def present(root: Path) -> list[dict[str, Any]]:
    """What every cell that somebody is at, or was when he was killed, tells of itself."""
    found = []
    for path in sorted(root.glob(f"results/*/{WORDS}*")):
        if (word := said(path)) is not None:
            found.append({"name": path.parent.name, **vars(word.process), **word.facts})
    return found


def training(root: Path) -> list[dict[str, Any]]:
    """Of those the ones that have done an epoch."""
    return [each for each in present(root) if each.get("epoch") and each["doing"] == "pretraining"]


def records(root: Path) -> dict[str, dict[str, Any]]:
    """Every record, by its cell's name."""
    return {path.parent.name: json.loads(path.read_bytes()) for path in sorted(root.glob("results/*/result.json"))}


def statuses(root: Path) -> list[str]:
    return sorted(each["status"] for each in records(root).values())


def made_here(root: Path) -> int:
    """How many cells made their pretraining and did not find it."""
    return sum(
        each["pretraining"]["reused"] is False for each in records(root).values() if each["status"] == "finished"
    )


def pretrained(root: Path) -> dict[str, float]:
    """When each pretraining was finished, by key."""
    return {path.parent.name: path.stat().st_mtime for path in root.glob("pretrained/*/manifest.json")}


def logs(root: Path) -> list[str]:
    """The lines of every job's log."""
    return [line for path in sorted(root.glob("hydra/**/simclr.log")) for line in path.read_text().splitlines()]


def numbers(root: Path) -> dict[str, Any]:
    """All that was measured, of every cell."""
    return {name: {part: each.get(part) for part in SAME} for name, each in records(root).items()}


def written(root: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time of change."""
    return {
        str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }
