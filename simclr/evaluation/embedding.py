"""Features of any images as a file: a row per image, for whatever comes after this package."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from simclr.config.cell import probed_view
from simclr.data.decoding import decode_each, quiet_decoders
from simclr.data.listing import list_images
from simclr.data.progress import Report, progress
from simclr.evaluation.judgement import Features
from simclr.evaluation.rows import gathered
from simclr.foundation.errors import InvalidInput
from simclr.foundation.files import whole_file
from simclr.store import Pretraining, network
from simclr.store.pretraining import check_layer, configuration

BATCH = 128
ROWS = 64 * BATCH
"""Rows of a parquet file that are written together, as a reader has them together: a few megabytes."""


def embed(
    pretraining: Pretraining, folder: Path, out: Path, layer: str, report: Report
) -> tuple[int, list[InvalidInput]]:
    """Write what a network makes of every image below a folder: its features, as a probe of this layer sees them.

    Args:
        pretraining: finished and intact.
        folder: its images are looked at, at any depth, as those were that the network was pretrained on.
        out: ``.parquet`` (columns ``path`` and ``features``, a list of D float32) or ``.npz`` (arrays ``paths`` (N,)
            and ``features`` (N, D) float32); appears when it is whole.
        layer: ``encoder``, a layer of the head or a stage.
        report: takes progress lines where standard error is no terminal.

    Returns:
        How many rows were written, and what is wrong with the images that have none.

    Raises:
        InvalidInput: no such folder, images, layer or format, the file is there already, or none of the images can be
            decoded.
        OSError: it cannot be written.
    """
    config = configuration(pretraining.folder)
    check(out)
    check_layer(config.encoder, config.head, layer)
    paths = list_images(folder)

    from simclr.evaluation.eye import Eye
    from simclr.model.network import representations

    eye = Eye(representations(network(pretraining), [layer]), probed_view(config.probe, config.augment))
    grey = pretraining.manifest["channels"] == 1
    failures: list[InvalidInput] = []
    known: list[str] = []

    def readable() -> Iterator[tuple[str, Any, float]]:
        decoding = decode_each(
            (folder / path for path in paths), config.data.image_size, 2 * BATCH, config.data.most_pixels
        )
        for path, each in zip(paths, decoding, strict=True):
            advance(1)
            if isinstance(each, InvalidInput):
                failures.append(each)
            else:
                yield path, _grey(each[0]) if grey else each[0], each[1]

    def features() -> Iterator[Features]:
        images = readable()
        while chunk := list(islice(images, BATCH)):
            some, pixels, aspect = zip(*chunk, strict=True)
            known.extend(some)
            yield eye.at((np.stack(pixels), np.array(aspect, np.float32)))[layer]
        if not known:
            raise InvalidInput(f"{folder}: none of its {len(paths):,} images can be read, the first: {failures[0]}")

    with whole_file(out) as file:
        with quiet_decoders(), progress("embedding", len(paths), "images", report) as advance:
            rows = gathered(features(), len(paths), out.parent)
        FORMATS[out.suffix](file, known, rows)
    return len(known), failures


def check(out: Path) -> None:
    """Whether a file of features can be written there.

    Raises:
        InvalidInput: it is there, or of no format that there is.
    """
    if out.suffix not in FORMATS:
        raise InvalidInput(f"--out {out}: valid is a file that ends in {' or '.join(FORMATS)}")
    if out.exists():
        raise InvalidInput(f"--out {out}: is there already; valid is a new file")
    if not out.parent.is_dir():
        raise InvalidInput(f"--out {out}: no such folder, {out.parent}")
    if out.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise InvalidInput(f"--out {out}: needs pyarrow, pip install 'simclr[parquet]'; an .npz file needs nothing")


def _grey(pixels: Any) -> Any:
    """(S, S, 3) uint8 as (S, S, 1): what a network of one channel can look at."""
    return np.asarray(Image.fromarray(pixels).convert("L"))[..., np.newaxis]


def _parquet(file: IO[bytes], paths: list[str], features: Features) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = {
        # A file's name may be any bytes; a column of text may not.
        "path": pyarrow.array([path.encode("utf-8", "replace").decode() for path in paths]),
        "features": pyarrow.FixedSizeListArray.from_arrays(features.reshape(-1), features.shape[1]),
    }
    parquet.write_table(pyarrow.table(columns), file, row_group_size=ROWS)


def _npz(file: IO[bytes], paths: list[str], features: Features) -> None:
    np.savez(file, features=features, paths=np.array(paths))


FORMATS = {".parquet": _parquet, ".npz": _npz}
