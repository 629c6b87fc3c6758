"""Which image formats can be read here, and how their files are called."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif"),
}


@cache
def formats() -> tuple[str, ...]:
    """Those of :data:`SUFFIXES` that are read: AVIF where Pillow has it, HEIF where ``pillow_heif`` is installed."""
    from PIL import features

    missing = {"AVIF"} if not features.check("avif") else set()
    if find_spec("pillow_heif") is None:
        missing.add("HEIF")
    return tuple(name for name in SUFFIXES if name not in missing)


@cache
def suffixes() -> tuple[str, ...]:
    """Of the files that are taken for images, in lower case."""
    return tuple(suffix for name in formats() for suffix in SUFFIXES[name])
