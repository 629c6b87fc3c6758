"""Time and memory of a report on a thousand cells."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.alone import ended
from tests.report.constructed import build, grid

TRUTH = {
    ("two_relu", "encoder"): 0.95,
    ("two_relu", "relu_1"): 0.92,
    ("two_relu", "relu_2"): 0.72,
    ("one_relu", "encoder"): 0.93,
    ("one_relu", "relu_1"): 0.8,
    ("zero_relu", "encoder"): 0.7,
    ("none", "encoder"): 0.35,
}


def measure() -> Iterator[tuple[str, str]]:
    """Seconds and peak resident memory of ``python -m simclr.report`` on 1,008 constructed cells with features."""
    cells = [
        cell
        for temperature in (0.05, 0.1, 0.2, 0.5)
        for rate in (0.0005, 0.001, 0.002, 0.004)
        for share in (0.05, 0.1, 0.5)
        for cell in grid(
            TRUTH,
            pretrain__temperature=temperature,
            optimizer__learning_rate=rate,
            probe__label_fraction=share,
        )
    ]
    with tempfile.TemporaryDirectory() as root:
        build(Path(root), cells, features=True)
        begun = time.perf_counter()
        command = [sys.executable, "-m", "simclr.report", "--root", root]
        used = ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True))
        yield f"{len(cells)} cells", f"{time.perf_counter() - begun:.1f} s"
        yield "processor time", f"{used.processor:.1f} s"
        yield "peak", f"{used.peak:.2f} GiB"
