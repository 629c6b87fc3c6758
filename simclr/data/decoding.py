"""An image file as an RGB square: decoded, turned upright, put on white, resized."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from simclr.data.formats import formats
from simclr.foundation import machine
from simclr.foundation.errors import InvalidInput, one_line

PIXELS_MAX = 100_000_000
TEXT_MAX = 64 << 20
"""Bytes of text and colour profile in a PNG; Pillow takes 1 MiB, and cameras and editors write more."""
NAMED = 20
"""Files, at most, that one message names."""
THREADS_MAX = 16
ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = TEXT_MAX

Decoded = tuple[NDArray[np.uint8], float]


@cache
def _register() -> None:
    if "HEIF" in formats():
        import_module("pillow_heif").register_heif_opener()


def decode(path: Path, side: int, most: int = PIXELS_MAX) -> Decoded:
    """One image file, the whole of it squashed to a square.

    Args:
        path: a file of one of :func:`.formats.formats`, of any colour mode; of an animation the first picture is taken.
        side: the square's side in pixels.
        most: pixels that an image may have, as all of them are in memory at once.

    Returns:
        The (side, side, 3) uint8 RGB pixels, and the width of the upright image divided by its height.

    Raises:
        InvalidInput: the file is missing, empty, corrupt, cut short, of another format or too large; one line.
    """
    _register()
    limit = f"valid are at most {most / 1e6:,.0f} million, which data.megapixels raises"
    try:
        if path.stat().st_size == 0:
            raise InvalidInput("is empty (0 bytes)")
        with Image.open(path, formats=formats()) as image:
            width, height = image.size
            if width * height > most:
                raise InvalidInput(f"{width}x{height} pixels; {limit}")
            if image.format == "PNG":
                # The decoder takes pixels without looking at their checksums.
                with Image.open(path, formats=("PNG",)) as chunks:
                    chunks.verify()
            # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size in a fraction of the time. At twice the target or
            # more the resizing below still has something to average over.
            image.draft(None, (2 * side, 2 * side))
            orientation = _orientation(image)
            square = _rgb(image).resize((side, side), Image.Resampling.BICUBIC)
    except MemoryError:
        raise
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error
    except Image.DecompressionBombError as error:
        raise InvalidInput(f"{path}: too large; {limit}") from error
    except UnidentifiedImageError as error:
        raise InvalidInput(f"{path}: not an image that can be read; valid are {', '.join(formats())}") from error
    except Exception as error:
        # Decoders meet broken files with whatever exception comes first, SyntaxError and struct.error among them.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
        raise InvalidInput(f"{path}: cannot be read as an image: {reason}") from error
    if orientation in UPRIGHT:
        square = square.transpose(UPRIGHT[orientation])
    if 5 <= orientation <= 8:  # the sides are swapped
        width, height = height, width
    return np.asarray(square), width / height


def decode_each(
    paths: Iterable[Path], side: int, ahead: int = 0, most: int = PIXELS_MAX
) -> Iterator[Decoded | InvalidInput]:
    """:func:`decode` for each path, or what is wrong with it, in order, by a few threads.

    Of images that the reader has not asked for yet, ``ahead`` may be decoded; a few for each thread in any case.
    """
    # More threads than cores gain nothing: decoding leaves Python's lock, and a core, to one thread each.
    threads = min(machine.cpus(), THREADS_MAX)
    ahead = max(ahead, 4 * threads)
    # Pillow's own guard, at twice this number, is the process's.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, most)
    waiting: deque[Future[Decoded | InvalidInput]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for path in paths:
            waiting.append(pool.submit(_decoded_or_not, path, side, most))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decoded_or_not(path: Path, side: int, most: int) -> Decoded | InvalidInput:
    try:
        return decode(path, side, most)
    except InvalidInput as failure:
        return failure


def decode_all(
    paths: Iterable[Path], side: int, ahead: int = 0, most: int = PIXELS_MAX, *, name_all: bool = False
) -> Iterator[Decoded]:
    """:func:`decode_each`, of images that can all be decoded.

    Raises:
        InvalidInput: the first file in order that cannot be decoded, when its turn comes; with ``name_all``, all of
            them, at the end.
    """
    failures: list[InvalidInput] = []
    for each in decode_each(paths, side, ahead, most):
        if not isinstance(each, InvalidInput):
            yield each
        elif name_all:
            failures.append(each)
        else:
            raise each
    if failures:
        raise InvalidInput(named(failures))


def named(failures: Sequence[InvalidInput]) -> str:
    """Images that cannot be used, the first twenty by name, in one line."""
    more = f"; and {len(failures) - NAMED:,} more" if len(failures) > NAMED else ""
    count = f"{len(failures):,} images cannot be used: " if len(failures) > 1 else ""
    return count + "; ".join(map(str, failures[:NAMED])) + more


def quiet_for_good() -> None:
    """Keep the decoders' warnings (damaged EXIF data, odd palettes) off the screen.

    Streams need that: they decode on threads of their own until the process ends, so that there is no end at which to
    set the filters back.
    """
    warnings.filterwarnings("ignore", module=r"PIL\b")


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """:func:`quiet_for_good`, while the block runs.

    Filters of warnings belong to the whole process, so this goes around all decoding threads, not into each of them.
    """
    with warnings.catch_warnings():
        quiet_for_good()
        yield


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or it is damaged: the picture itself is still good."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) else 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise InvalidInput("holds floating-point numbers, of which nobody says what is white")
    if image.mode.startswith("I"):
        return _deep_grey(image)
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        # Some programs leave an alpha channel that they do not use: all of it is zero.
        if opaque.getchannel("A").getbbox() is not None:
            white = Image.new("RGBA", opaque.size, "white")
            return Image.alpha_composite(white, opaque).convert("RGB")
        return opaque.convert("RGB")
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """16-bit grey, which Pillow would cut off at 255 instead of scaling it; the transparent value becomes white."""
    wide = np.asarray(image).astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise InvalidInput("holds numbers outside 0 to 65,535, of which nobody says what is white")
    clear = wide == image.info.get("transparency", -1)
    shades = ((wide + 128) // 257).astype(np.uint8)
    return Image.fromarray(shades if clear.all() else np.where(clear, np.uint8(255), shades)).convert("RGB")
