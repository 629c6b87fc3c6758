"""The setting that the benchmarks measure: the photographs' recipe on made-up images of the same number and size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir

from simclr.config import Config
from simclr.config.validation import resolve
from simclr.data import ImageSplit

CONF = Path(__file__).parents[2] / "conf"

PLAIN = ("experiment=imagenet5", "pretrain.batch_size=128", "augment.local_views=0")
"""The network of the photographs with two views of each image, as other programs have it, and a large batch."""


def recipe(*overrides: str) -> Config:
    """The configuration :data:`PLAIN` with overrides."""
    return compose_config(*PLAIN, *overrides)


def compose_config(*overrides: str) -> Config:
    """The configuration that these overrides mean."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolve(compose("config", list(overrides)))


def made_up_images(count: int, side: int, classes: int = 5, channels: int = 3) -> ImageSplit:
    """Smooth random images: the speed of a step does not depend on what is in them."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (count, side // 8, side // 8, channels), dtype=np.uint8)
    pixels = coarse.repeat(8, axis=1).repeat(8, axis=2)
    labels = np.arange(count, dtype=np.int32) % classes
    return ImageSplit(pixels, labels, np.full(count, 4 / 3, np.float32), tuple(f"{i}" for i in range(count)))
