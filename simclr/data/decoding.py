"""An image file as an RGB square: decoded, turned upright, put on white, resized."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from simclr.foundation import machine
from simclr.foundation.errors import InvalidInput, one_line

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
PIXELS_MAX = 100_000_000
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
SIDES_SWAPPED = (5, 6, 7, 8)

Decoded = tuple[NDArray[np.uint8], float]


def decode(path: Path, side: int) -> Decoded:
    """One image file, the whole of it squashed to a square.

    Args:
        path: a JPEG, PNG, BMP or WebP file of any colour mode; of an animation the first picture is taken.
        side: the square's side in pixels.

    Returns:
        The (side, side, 3) uint8 RGB pixels, and the width of the upright image divided by its height.

    Raises:
        InvalidInput: the file is missing, empty, corrupt, cut short, of another format or too large; one line.
    """
    try:
        if path.stat().st_size == 0:
            raise InvalidInput(f"{path}: is empty (0 bytes)")
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > PIXELS_MAX:
                raise InvalidInput(f"{path}: {width}x{height} pixels; valid are at most {PIXELS_MAX:,} pixels")
            if image.format == "PNG":
                _check_png(path)
            # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size in a fraction of the time. At twice the target or
            # more the resizing below still has something to average over.
            image.draft(None, (2 * side, 2 * side))
            orientation = _orientation(image)
            square = _rgb(image).resize((side, side), Image.Resampling.BICUBIC)
    except (InvalidInput, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise InvalidInput(f"{path}: too large; valid are at most {PIXELS_MAX:,} pixels") from error
    except UnidentifiedImageError as error:
        raise InvalidInput(f"{path}: not an image that can be read; valid are JPEG, PNG, BMP and WebP") from error
    except Exception as error:
        # Decoders meet broken files with whatever exception comes first, SyntaxError and struct.error among them.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
        raise InvalidInput(f"{path}: cannot be read as an image: {reason}") from error
    if orientation in UPRIGHT:
        square = square.transpose(UPRIGHT[orientation])
    if orientation in SIDES_SWAPPED:
        width, height = height, width
    return np.asarray(square), width / height


def decode_all(paths: Iterable[Path], side: int, ahead: int = 0) -> Iterator[Decoded]:
    """:func:`decode` for each path, in order, on a few threads and never far ahead of the reader.

    Args:
        paths: the files.
        side: see :func:`decode`.
        ahead: how many images more than the reader has asked for may be decoded; a few for each thread in any case.

    Raises:
        InvalidInput: the first file in order that cannot be decoded, when its turn comes.
    """
    # More threads than cores gain nothing: decoding leaves Python's lock, and a core, to one thread each.
    threads = min(machine.cpus(), THREADS_MAX)
    ahead = max(ahead, 4 * threads)
    waiting: deque[Future[Decoded]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for path in paths:
            waiting.append(pool.submit(decode, path, side))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Keep the decoders' warnings (damaged EXIF data, odd palettes) off the screen while the block runs.

    Filters of warnings belong to the whole process, so this goes around all decoding threads, not into each of them.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\b")
        yield


def _check_png(path: Path) -> None:
    """Raise where a chunk does not have its checksum: the decoder takes pixels without looking at theirs."""
    with Image.open(path, formats=("PNG",)) as image:
        image.verify()


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or it is damaged: the picture itself is still good."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) else 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16-bit grey, which Pillow would cut off at 255 instead of scaling it.
        wide = np.asarray(image).astype(np.int64)
        return Image.fromarray(((wide.clip(0, 65535) + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        white = Image.new("RGBA", opaque.size, "white")
        return Image.alpha_composite(white, opaque).convert("RGB")
    return image.convert("RGB")
