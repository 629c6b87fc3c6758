"""What the online probe costs: its share of the time of a pretraining that it watches."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tests.benchmarks.recipe import compose_config, made_up_images, recipe


def measure(epochs: int = 40) -> Iterator[tuple[str, str]]:
    """The monitor's share of the seconds, tracing included: in a short run of the recipe, in a whole one of digits."""
    from simclr.training.runtime import start_tensorflow

    start_tensorflow(None)
    from simclr.evaluation.monitor import NeighbourMonitor
    from simclr.foundation import machine
    from simclr.training.pretrain import pretrain

    for name, config, images in (
        ("imagenet5", recipe(f"pretrain.epochs={epochs}"), made_up_images(1250, 96)),
        ("digits", compose_config(f"pretrain.epochs={epochs}"), made_up_images(1347, 16, channels=1)),
    ):
        monitor = NeighbourMonitor(images, config.pretrain.monitor_epochs, epochs, centre=True, seed=0)
        pretrained = pretrain(config.recipe, images, machine.resolve_precision("auto"), [monitor])
        looks = sum(math.isfinite(row["monitor/knn_accuracy"]) for row in pretrained.history)
        share = monitor.seconds / pretrained.seconds
        yield f"monitor / pretraining, {name}, {looks} looks in {epochs} epochs", f"{share:.3f}"
