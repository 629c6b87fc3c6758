"""Test accuracy against minutes of pretraining: runs that are meant to end there, not stops of a longer one.

Pretrainings are kept, and found again, in the directory that ``CURVE_ROOT`` names, which should hold no others; each is
made alone, so that its minutes are those of this machine.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pandas as pd

from simclr.records import result
from tests.benchmarks.alone import seconds_of_run
from tests.real_set import real_images

RUNS: tuple[tuple[str, int, float, int], ...] = (
    ("imagenet5", 32, 1, 3),
    ("imagenet5", 80, 3, 1),
    ("imagenet5", 190, 7, 1),
    ("imagenet5", 300, 11, 3),
    ("imagenet5_long", 590, 18, 3),
)
"""Experiment, epochs, the epochs of warm-up, three to four hundredths of each, and the number of seeds."""


def measure() -> Iterator[tuple[str, str]]:
    """Minutes, and accuracies of the encoder with 10 % of the labels and with all, over seeds."""
    if not real_images():
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = os.environ.get("CURVE_ROOT", scratch)
        for experiment, epochs, warmup, seeds in RUNS:
            yield f"{experiment}, {epochs} epochs", _described(_cells(root, experiment, epochs, warmup, range(seeds)))


def _cells(root: str, experiment: str, epochs: int, warmup: float, seeds: range) -> pd.DataFrame:
    """The results of these epochs, run where they are not there yet."""
    recipe = (f"experiment={experiment}", f"pretrain.epochs={epochs}", f"optimizer.warmup_epochs={warmup}")
    probes = ("probe.layer=encoder", "probe.label_fraction=0.1,1")
    seconds_of_run(
        "-m", *recipe, *probes, f"seed={','.join(map(str, seeds))}", "tracking.mode=disabled", f"root={root}"
    )
    cells = result.load(root)
    mine = (
        (cells["pretraining.epochs"] == epochs)
        & (cells["cell.head"] == "two_relu")
        & (cells["cell.layer.name"] == "encoder")
        & cells["cell.seed"].isin(seeds)
    )
    return cells[mine]


def _described(cells: pd.DataFrame) -> str:
    minutes = ", ".join(f"{seconds / 60:.1f}" for seconds in cells.groupby("cell.seed")["pretraining.seconds"].first())
    accuracies = [
        f"{fraction:.0%} {accuracy.mean():.3f} ({', '.join(f'{each:.3f}' for each in accuracy)})"
        for fraction, accuracy in cells.sort_values("cell.seed").groupby("cell.label_fraction")[
            "probe.test_accuracy.mean"
        ]
    ]
    return f"{minutes} minutes: {'; '.join(accuracies)}"
