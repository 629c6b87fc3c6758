"""How time and memory grow with images, epochs, batch, width and cells: what should be a straight line, drawn as one.

Every point is a process of its own, so that its peak memory is its own as well. The picture is written to ``COST_PNG``
where that environment variable names a file.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tests.benchmarks.alone import RUN, ended, pretraining

IMAGES, EPOCHS, BATCH, WIDTH = 1024, 4, 128, 16
SERIES: dict[str, tuple[int, ...]] = {
    "images": (1024, 2048, 4096, 8192),
    "epochs": (4, 8, 16, 32),
    "batch": (64, 128, 256, 512),
    "width": (8, 16, 32, 64),
}
CELLS = (1, 3, 6, 9)
AXES = {
    "images": "training images",
    "epochs": "epochs",
    "batch": "images a batch, as many in all",
    "width": "channels of the first stage",
    "cells": "cells of a finished pretraining",
}


def measure() -> Iterator[tuple[str, str]]:
    """Seconds and peak memory along each series, and how straight a line of seconds is."""
    found: dict[str, tuple[Sequence[int], list[float], list[float]]] = {}
    for series, values in SERIES.items():
        points = [_point(series, value) for value in values]
        found[series] = (values, [seconds for seconds, _ in points], [memory for _, memory in points])
    found["cells"] = (CELLS, *_cells(CELLS))
    for series, (values, seconds, memory) in found.items():
        times = ", ".join(f"{value}: {each:.1f} s" for value, each in zip(values, seconds, strict=True))
        yield f"{series}, seconds", times
        yield f"{series}, peak memory", ", ".join(f"{each:.2f} GiB" for each in memory)
        if series in ("images", "epochs", "cells"):
            yield (
                f"{series}, share of the variance of seconds on a straight line",
                f"{_straightness(values, seconds):.4f}",
            )
    if target := os.environ.get("COST_PNG"):
        _draw(found, Path(target))


def _point(series: str, value: int) -> tuple[float, float]:
    """Seconds of training and GiB at the peak."""
    at = {"images": IMAGES, "epochs": EPOCHS, "batch": BATCH, "width": WIDTH} | {series: value}
    widths = [at["width"] * times for times in (1, 2, 4, 8)]
    overrides = (f"pretrain.epochs={at['epochs']}", f"pretrain.batch_size={at['batch']}", f"encoder.widths={widths}")
    return pretraining(at["images"], 32, *overrides)


def _cells(counts: Sequence[int]) -> tuple[list[float], list[float]]:
    """Seconds and peak memory of grids of so many cells of one pretraining that is finished."""
    seconds, memory = [], []
    with tempfile.TemporaryDirectory() as root:
        common = [*RUN, "-m", "pretrain.epochs=2", "tracking.mode=disabled", f"root={root}"]
        subprocess.run([*common, "probe.layer=encoder"], check=True, capture_output=True)
        for count in counts:
            layers = ",".join(["encoder", "relu_1", "relu_2"][: min(count, 3)])
            fractions = ",".join(f"{0.1 + 0.02 * number + 0.001 * count:g}" for number in range(max(count // 3, 1)))
            begun = time.perf_counter()
            process = subprocess.Popen(
                [*common, f"probe.layer={layers}", f"probe.label_fraction={fractions}"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            memory.append(ended(process).peak)
            seconds.append(time.perf_counter() - begun)
    return seconds, memory


def _straightness(values: Sequence[int], seconds: list[float]) -> float:
    """The coefficient of determination of the line through the points."""
    line = np.polyval(np.polyfit(values, seconds, 1), values)
    return float(1 - np.var(np.array(seconds) - line) / np.var(seconds))


def _draw(found: dict[str, tuple[Sequence[int], list[float], list[float]]], target: Path) -> None:
    import matplotlib.pyplot as plt

    from simclr.report.palette import LIGHT

    with plt.rc_context(LIGHT.settings()):
        figure, panels = plt.subplots(2, len(found), figsize=(3.1 * len(found), 5.6), layout="constrained")
        for column, (series, (values, seconds, memory)) in enumerate(found.items()):
            for panel, measured, unit in zip(
                panels[:, column], (seconds, memory), ("seconds", "peak, GiB"), strict=True
            ):
                panel.plot(values, measured, marker="o", color=LIGHT.head("two_relu"))
                panel.set(xlim=(0, None), ylim=(0, max(measured) * 1.15), xlabel=AXES[series])
                panel.set_ylabel(unit if column == 0 else "")
            panels[0, column].set_title(series)
        figure.savefig(target, dpi=110)
        plt.close(figure)
