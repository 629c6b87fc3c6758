"""What reuse is worth: a further cell of a finished pretraining, and a grid of cells against its pretrainings alone."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.real_set import real_images

RUN = Path(__file__).parents[2] / "run.py"
HEADS = ("zero_relu", "one_relu", "two_relu")
LAYERS = (-2, -4, -6)


def measure(rounds: int = 3) -> Iterator[tuple[str, str]]:
    """Seconds of a further cell, untracked and tracked; nine cells of three heads to three single runs, on digits."""
    with tempfile.TemporaryDirectory() as root:
        data = ["experiment=imagenet5"] if real_images() else ["data=digits"]
        short = [*data, f"root={root}", "pretrain.epochs=2"]
        _seconds(*short, "probe.layer=encoder")
        for mode in ("disabled", "offline"):  # which the default is where no key is configured
            for layer in ("relu_1", "relu_2", "stage_2")[:rounds]:
                seconds = _seconds(*short, f"probe.layer={layer}", f"tracking.mode={mode}")
                yield f"a further cell, {data[0]}, {layer}, tracking {mode}", f"{seconds:.1f} s"
    singles, grid = 0.0, 0.0
    for head in HEADS:
        with tempfile.TemporaryDirectory() as root:
            singles += _seconds(f"head={head}", f"root={root}")
    with tempfile.TemporaryDirectory() as root:
        for head in HEADS:
            for layer in LAYERS:
                grid += _seconds(f"head={head}", f"probe.layer={layer}", "on_invalid=skip", f"root={root}")
        trained = len(list(Path(root).glob("pretrained/*/manifest.json")))
    yield "three single runs, digits", f"{singles:.0f} s"
    yield f"nine cells one after the other, {trained} pretrainings", f"{grid:.0f} s"
    yield "ratio", f"{grid / singles:.2f}"


def _seconds(*overrides: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, str(RUN), *overrides], capture_output=True, check=True)
    return time.perf_counter() - begun
