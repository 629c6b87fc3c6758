"""A folder of made-up photographs, and the settings of a quick cell on such."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

QUICK = (
    "data=folder",
    "data.image_size=16",
    "pretrain.batch_size=8",
    "encoder.widths=[8,12]",
    "encoder.blocks=[1,1]",
    "probe.subsets=2",
    "probe.label_fraction=0.5",
)


def write(folder: Path, count: int, first: int = 0) -> None:
    """Write so many made-up photographs, each of its own noise by its number."""
    folder.mkdir(parents=True)
    for number in range(first, first + count):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
