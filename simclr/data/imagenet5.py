"""The five-class ImageNet subset: what it is, where a download is put, and how it is known to be the right one."""

from __future__ import annotations

from pathlib import Path

from simclr.data.listing import absolute
from simclr.data.parts import Catalogue, not_here

FOLDER = "imagenet-5-categories"
COMMIT = "0d81ce762e071c08c5ed2368e1429b80fb189760"
ARCHIVE = f"thunderInfy/imagenet-5-categories/archive/{COMMIT}.tar.gz"
CONTENT = "d49898fed5b27534a2f59a6c024f4971c6abccb647dbb30c60282d0017d30837"
CLASSES = ("airplane", "car", "cat", "dog", "elephant")
TRAIN_PER_CLASS = 250
TEST_PER_CLASS = 50


def cached(cache: Path) -> Path:
    """Where a download is put: the one copy that is ours to replace."""
    return absolute(cache / FOLDER)


def to_download() -> Catalogue:
    """The catalogue of the images before they are here."""
    return not_here("imagenet5", CLASSES, TRAIN_PER_CLASS, TEST_PER_CLASS, known=CONTENT)
