"""Whether bfloat16 costs accuracy: the same pretrainings in both precisions, over three seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from simclr.records import result
from tests.benchmarks.alone import seconds_of_run
from tests.benchmarks.recipe import PLAIN
from tests.real_set import real_images

SEEDS = 3
EXPERIMENTS: dict[str, tuple[str, ...]] = {
    "digits": ("data=digits",),
    "imagenet5 for 24 epochs": (*PLAIN, "pretrain.epochs=24", "optimizer.warmup_epochs=1"),
}


def measure() -> Iterator[tuple[str, str]]:
    """Test accuracies of the encoder by seed, in float32 and in bfloat16, and the mean of their differences."""
    for name, overrides in EXPERIMENTS.items():
        if name != "digits" and not real_images():
            continue
        with tempfile.TemporaryDirectory() as root:
            found = _accuracies(root, overrides)
        for precision, accuracies in found.items():
            yield f"{name}, {precision}", ", ".join(f"{each:.3f}" for each in accuracies)
        differences = [b - a for a, b in zip(found["float32"], found["mixed_bfloat16"], strict=True)]
        yield f"{name}, bfloat16 less float32, mean over seeds", f"{sum(differences) / SEEDS:+.3f}"


def _accuracies(root: str, overrides: tuple[str, ...]) -> dict[str, list[float]]:
    """By precision, then by seed."""
    seeds = ",".join(map(str, range(SEEDS)))
    grid = ["probe.layer=encoder", "pretrain.precision=float32,mixed_bfloat16", f"seed={seeds}", "launch=local"]
    seconds_of_run("-m", *overrides, *grid, "tracking.mode=disabled", f"root={root}")
    cells = result.load(root).sort_values("cell.seed")
    return {
        str(precision): list(rows["probe.test_accuracy.mean"])
        for precision, rows in cells.groupby("pretraining.precision")
    }
