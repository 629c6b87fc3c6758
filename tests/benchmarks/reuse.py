"""What reuse is worth: a further cell of a finished pretraining, and a grid of cells against its pretrainings alone."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.alone import seconds_of_run
from tests.real_set import real_images

LAYERS = (-2, -4, -6)
HEADS = {"zero_relu": LAYERS[:1], "one_relu": LAYERS[:2], "two_relu": LAYERS}
"""With those of the layers that each has."""


def measure(rounds: int = 3) -> Iterator[tuple[str, str]]:
    """Seconds of a further cell, untracked and tracked; nine cells of three heads to three single runs, on digits."""
    with tempfile.TemporaryDirectory() as root:
        data = ["experiment=imagenet5"] if real_images() else ["data=digits"]
        short = [*data, f"root={root}", "pretrain.epochs=2"]
        seconds_of_run(*short, "probe.layer=encoder")
        for mode in ("disabled", "offline"):  # which the default is where no key is configured
            for layer in ("relu_1", "relu_2", "stage_2")[:rounds]:
                seconds = seconds_of_run(*short, f"probe.layer={layer}", f"tracking.mode={mode}")
                yield f"a further cell, {data[0]}, {layer}, tracking {mode}", f"{seconds:.1f} s"
    singles: list[float] = []
    kinds = ("the first of its head", "a further one", "one that does not exist")
    cells: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as shared:
        for head, layers in HEADS.items():  # in turns, as a machine is not as fast at all times
            with tempfile.TemporaryDirectory() as own:
                singles.append(seconds_of_run(f"head={head}", f"root={own}"))
            for layer in LAYERS:
                kind = kinds[2] if layer not in layers else kinds[layer != LAYERS[0]]
                seconds = seconds_of_run(f"head={head}", f"probe.layer={layer}", "on_invalid=skip", f"root={shared}")
                cells[kind].append(seconds)
        trained = len(list(Path(shared).glob("pretrained/*/manifest.json")))
    grid = sum(map(sum, cells.values()))
    yield "three single runs, digits", f"{sum(singles):.0f} s"
    yield f"nine cells one after the other, {trained} pretrainings", f"{grid:.0f} s"
    for kind, each in cells.items():
        yield f"of the nine, {kind}", f"{statistics.mean(each):.1f} s"
    yield "ratio", f"{grid / sum(singles):.2f}"
