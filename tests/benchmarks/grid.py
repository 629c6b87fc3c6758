"""What a grid costs beyond its pretrainings and probes: packing, launching, running again, planning, status."""

from __future__ import annotations

import heapq
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simclr.foundation.work import WORDS
from simclr.records.status import statuses
from tests.benchmarks.alone import ended, seconds_of_run

NINE = ("head=zero_relu,one_relu,two_relu", "probe.layer=-2,-4,-6", "tracking.mode=disabled")
TWO_WORKERS = ("launch=local", "hydra.launcher.n_jobs=2")
TINY = ("pretrain.epochs=1", "encoder.widths=[8,12]", "encoder.blocks=[1,1]", "probe.subsets=2")

PLAN = """
import itertools, sys, time
from simclr.config.compose import Composer
from simclr.grid.prepare import prepare
count = int(sys.argv[1])
heads, layers = ("zero_relu", "one_relu", "two_relu"), (-2, -4, -6)
points = itertools.product(range(-(-count // 9)), heads, layers)
root = f"root={sys.argv[2]}"
points = [(f"head={head}", f"probe.layer={layer}", f"seed={seed}", root) for seed, head, layer in points][:count]
begun = time.perf_counter()
grid = prepare(points, Composer(), sys.argv[2])
print(time.perf_counter() - begun)
assert len(grid.plan.cells) == count
"""


def measure(rounds: int = 3) -> Iterator[tuple[str, str]]:
    """Figures of a grid of nine on digits: with ``local`` against the ideal, again, per cell; and of planning."""
    with tempfile.TemporaryDirectory() as alone, tempfile.TemporaryDirectory() as together:
        ideal = _ideal(Path(alone))
        begun = time.time()
        seconds_of_run("-m", *NINE, *TWO_WORKERS, f"root={together}")
        whole = time.time() - begun
        measured = max(end for _, end in _spans(Path(together))) - begun
        yield "nine cells alone, packed on two workers", f"{ideal:.0f} s"
        yield "nine cells with local, until the last result", f"{measured:.0f} s"
        yield "ratio", f"{measured / ideal:.2f}"
        yield "ratio, with the start and the report", f"{whole / ideal:.2f}"
        again = [seconds_of_run("-m", *NINE, *TWO_WORKERS, f"root={together}") for _ in range(rounds)]
        yield "a finished grid again", f"{statistics.median(again):.1f} s"
    for launch in (("launch=serial",), TWO_WORKERS):
        with tempfile.TemporaryDirectory() as root:
            cells = ("seed=0,1,2,3,4,5", "probe.layer=encoder,relu_1", *TINY, "tracking.mode=disabled")
            seconds_of_run("-m", *cells, *launch, f"root={root}")
            gaps = list(_gaps(_spans(Path(root))))
            yield (
                f"between a cell and the next, {launch[0]}",
                f"{statistics.mean(gaps):.2f} s, at most {max(gaps):.2f} s",
            )
    for count in (1_000, 10_000):
        with tempfile.TemporaryDirectory() as root:
            planner = subprocess.Popen(
                [sys.executable, "-c", PLAN, str(count), root], stdout=subprocess.PIPE, text=True
            )
            assert planner.stdout is not None
            seconds = float(planner.stdout.read())
            yield f"planning {count:,} cells", f"{seconds:.1f} s, {ended(planner).peak:.2f} GiB"
    with tempfile.TemporaryDirectory() as root:
        for number in range(1_000):
            folder = Path(root) / "results" / f"{number:04}"
            folder.mkdir(parents=True)
            process = {"host": "there", "space": "another boot", "pid": 1, "started": ""}
            word = {"process": process, "since": "", "doing": "pretraining"}
            (folder / f"{WORDS}1").write_text(json.dumps(word))
        begun = time.perf_counter()
        assert len(statuses(root)) == 1_000
        yield "the status of 1,000 running cells", f"{time.perf_counter() - begun:.2f} s"


def _ideal(root: Path) -> float:
    """Seconds of the nine cells where nothing but their own work is counted, each alone and on one thread.

    A pretraining and its probes are one piece; the pieces are packed on two workers, the longest first.
    """
    pieces: dict[str, float] = {}
    seconds_of_run("-m", *NINE, "pretrain.threads=1", f"root={root}")
    for record in _records(root):
        if record["status"] == "finished":
            key = record["pretraining"]["key"]
            pieces[key] = pieces.get(key, 0.0) + sum(record["timing"].values()) - record["timing"].get("start", 0.0)
    workers = [0.0, 0.0]
    for piece in sorted(pieces.values(), reverse=True):
        heapq.heapreplace(workers, workers[0] + piece)
    return max(workers)


def _spans(root: Path) -> list[tuple[float, float]]:
    """When each cell that was measured began and ended."""
    found = []
    for path in root.glob("results/*/result.json"):
        record = json.loads(path.read_bytes())
        if record["status"] == "finished":
            end = path.stat().st_mtime
            found.append((end - record["seconds"], end))
    return found


def _gaps(spans: list[tuple[float, float]]) -> Iterator[float]:
    """Seconds in which a worker had ended a cell and not begun the next: of those that had, the last takes it."""
    ended: list[float] = []
    events = sorted(itertools.chain(((start, 1) for start, _ in spans), ((end, 0) for _, end in spans)))
    for moment, begins in events:
        if not begins:
            ended.append(moment)
        elif ended:
            yield moment - ended.pop()


def _records(root: Path) -> Iterator[dict[str, Any]]:
    for path in root.glob("results/*/result.json"):
        yield json.loads(path.read_bytes())
