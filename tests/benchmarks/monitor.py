"""What the online probe costs: its share of the time of a pretraining that it watches."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tests.benchmarks.recipe import made_up_images, recipe


def measure(epochs: int = 40) -> Iterator[tuple[str, str]]:
    """The monitor's seconds over the pretraining's, at the recipe's three sizes in one short run."""
    from simclr.runtime import start_tensorflow

    start_tensorflow(None)
    from simclr import machine
    from simclr.callbacks import NeighbourMonitor
    from simclr.pretrain import pretrain

    config = recipe(f"pretrain.epochs={epochs}")
    images = made_up_images(1250, config.data.image_size)
    monitor = NeighbourMonitor(images, config.pretrain.monitor_epochs, epochs, centre=True, seed=0)
    pretrained = pretrain(config, images, machine.resolve_precision("auto"), [monitor])
    looks = sum(math.isfinite(row["monitor/knn_accuracy"]) for row in pretrained.history)
    share = monitor.seconds / pretrained.seconds
    yield f"monitor / pretraining, {looks} looks in {epochs} epochs, tracing included", f"{share:.3f}"
