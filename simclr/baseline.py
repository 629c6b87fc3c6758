"""What needs no pretraining: the numbers that a pretrained representation has to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simclr.data import ImageSplit

PIXELS_SIDE = 32


def pixel_features(split: ImageSplit) -> NDArray[np.float32]:
    """Raw pixels of the whole image at 32 x 32 or less, (N, side * side * C) float32 in [0, 1]."""
    count, side, _, channels = split.pixels.shape
    if side <= PIXELS_SIDE:
        small = np.asarray(split.pixels)
    else:
        modes = {1: "L", 3: "RGB"}
        small = np.stack(
            [
                np.asarray(
                    Image.fromarray(np.asarray(pixels).squeeze(), modes[channels]).resize(
                        (PIXELS_SIDE, PIXELS_SIDE), Image.Resampling.BILINEAR
                    )
                )
                for pixels in split.pixels
            ]
        )
    return small.reshape(count, -1).astype(np.float32) / np.float32(255)
