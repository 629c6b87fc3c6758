"""scikit-learn's bundled 1,797 handwritten digits of 8x8 pixels, and a fixed split of them.

They are read from the file that scikit-learn brings along, because importing scikit-learn to get at it takes longer
than everything else that the check of a configuration does.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simclr.data.parts import Catalogue, Split, part_of_each_class
from simclr.foundation.errors import InvalidInput

CLASSES = tuple("0123456789")
TEST_SHARE = 0.25
SPLIT_SEED = 1797
BRIGHTEST = 16


@dataclass(frozen=True, eq=False)
class Digits:
    """All digits as they are bundled.

    Attributes:
        pixels: (1797, 8, 8) uint8, ink from 0 to 255.
        labels: (1797,) int32, the digit.
        is_test: (1797,) bool, True for the quarter of each class that is kept for the test.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]
    is_test: NDArray[np.bool_]

    @property
    def digest(self) -> str:
        """64 hex digits: SHA-256 of pixels, labels and split, before any resizing."""
        arrays = (self.pixels, self.labels.astype("<i4"), self.is_test.astype(np.uint8))
        return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def read() -> Digits:
    """The digits and their split, which is the same on every machine and for every seed of an experiment.

    Raises:
        InvalidInput: scikit-learn is not installed.
    """
    table = _table()
    ink = table[:, :-1].reshape(-1, 8, 8)
    pixels = np.rint(ink * (255 / BRIGHTEST)).astype(np.uint8)
    labels = table[:, -1].astype(np.int32)
    return Digits(pixels, labels, part_of_each_class(labels, TEST_SHARE, SPLIT_SEED))


def catalogue() -> Catalogue:
    """The catalogue of the digits: ten classes, 1,347 training and 450 test images, no paths."""
    digits = read()
    train, test = digits.labels[~digits.is_test], digits.labels[digits.is_test]
    return Catalogue("digits", CLASSES, Split((), train), Split((), test), known=digits.digest)


def resized(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(N, 8, 8) uint8 as (N, side, side, 1) uint8, bilinear."""
    from PIL import Image

    bilinear = Image.Resampling.BILINEAR
    scaled = [np.asarray(Image.fromarray(each).resize((side, side), bilinear)) for each in pixels]
    return np.stack(scaled)[..., np.newaxis]


def _table() -> NDArray[np.float64]:
    """(1797, 65) float64: 64 values from 0 to 16, then the label."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise InvalidInput("data=digits: scikit-learn, which brings these images, is not installed")
    bundled = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if not bundled.exists():
        # A later scikit-learn may keep the file elsewhere. It will still know where: slower, and the same.
        from sklearn.datasets import load_digits

        loaded = load_digits()
        return np.column_stack([loaded.data, loaded.target]).astype(np.float64)
    return np.loadtxt(bundled, delimiter=",")
