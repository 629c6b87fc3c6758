"""What needs no pretraining: the numbers that a pretrained representation has to beat."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simclr.cell import fingerprint
from simclr.config import Config
from simclr.data import Images, ImageSplit
from simclr.files import Damaged, seal, sealed, set_aside, write_whole
from simclr.labels import Positions
from simclr.probe import Evaluation, LogisticRegression, evaluate
from simclr.store import Claim, Place, obtain
from simclr.store.claim import Report
from simclr.store.pretraining import load_arrays, save_arrays

PIXELS_SIDE = 32
VERSION = 1
"""Counts changes in what the baseline means: under another number it is measured again."""


def pixel_baseline(config: Config, images: Images, subsets: Sequence[Positions], report: Report) -> Evaluation:
    """Logistic regression on raw pixels: measured once for a data set and label protocol, kept in ``<root>/baselines``.

    Args:
        config: says where, and how the probe chooses its strength.
        images: the data.
        subsets: positions of the labelled images, one array per draw.
        report: takes what there is to say.
    """
    strengths = tuple(config.probe.strengths)
    identity = {
        "baseline": "pixels",
        "version": VERSION,
        "data": images.digest,
        "image_size": config.data.image_size,
        "subsets": [subset.tolist() for subset in subsets],
        "strengths": strengths,
        "seed": config.seed,
    }
    folder = Path(config.root) / "baselines" / fingerprint(identity)[:16]
    place = Place("the raw-pixel baseline", folder.with_name(f".{folder.name}.lock"), folder / "progress.json")

    def find() -> Evaluation | None:
        try:
            manifest = sealed(folder)
            return None if manifest is None else _read(folder)
        except Damaged:
            return None

    def make(claim: Claim) -> Evaluation:
        try:
            sealed(folder)
        except Damaged as damage:
            report(f"{folder}: {damage}: set aside as {set_aside(folder).name}, and measured again")
            folder.mkdir(exist_ok=True)
        train, test = (
            (pixel_features(images.train), images.train.labels),
            (pixel_features(images.test), images.test.labels),
        )
        evaluation = evaluate(LogisticRegression(strengths), train, test, subsets, config.seed)
        write_whole(folder / "record.json", json.dumps(evaluation.record).encode())
        save_arrays(folder / "predictions.npz", {"pixels": evaluation.predictions})
        claim.check()
        seal(folder, ["record.json", "predictions.npz"], {"baseline": "pixels", "data": images.digest})
        return evaluation

    found = obtain(place, find, make, report)
    assert found is not None  # it waits
    return found


def _read(folder: Path) -> Evaluation:
    record = json.loads((folder / "record.json").read_bytes())
    return Evaluation(record, load_arrays(folder / "predictions.npz")["pixels"])


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
