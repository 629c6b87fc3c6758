"""What needs no pretraining: the numbers that a pretrained representation has to beat."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from simclr.config import (
    LABELLED_TRAINING,
    AugmentConfig,
    Decides,
    EncoderConfig,
    HeadConfig,
    ProbeConfig,
    Recipe,
    decisive,
)
from simclr.config.cell import Cell, fingerprint, head_layers, labelled_augment, probed_view
from simclr.config.method import forward_layers
from simclr.data import AnySplit, Images
from simclr.data.labels import Positions
from simclr.evaluation.judgement import Evaluation, Fitted, judged
from simclr.evaluation.linear import LogisticRegression, of_many
from simclr.evaluation.probe import build_probe, evaluate
from simclr.evaluation.rows import gathered
from simclr.foundation.files import Damaged, make_folder, seal, sealed, set_aside, write_whole
from simclr.foundation.machine import resolve_precision
from simclr.store import Claim, Features, Place, made_once
from simclr.store.once import Report
from simclr.store.pretraining import load_arrays, save_arrays

PIXELS_SIDE = 32
CHUNK = 256
VERSION = 2
"""Counts changes in what the baselines mean: under another number they are measured again."""

Part = Callable[[str], AbstractContextManager[None]]
"""A block that does this part of the work (``probes`` or ``baselines``), for whoever keeps the time."""

CAME_LATER = ("crop_fit", "blur_draw")
"""Settings of views that are younger than the first baselines."""


def pixel_baseline(
    root: str, probe: ProbeConfig, images: Images, subsets: Sequence[Positions], seed: int, report: Report
) -> Evaluation:
    """Logistic regression on raw pixels: measured once for a data set and label protocol, kept in ``<root>/baselines``.

    Args:
        root: everything is kept below it.
        probe: says which strengths it chooses from.
        images: the data.
        subsets: positions of the labelled images, one array per draw.
        seed: of the experiment.
        report: takes what there is to say.
    """
    strengths = tuple(probe.strengths)

    def measure(_: Path, __: Claim) -> Evaluation:
        # Of a large set most images are in no subset, and need not be looked at.
        labelled, room = np.unique(np.concatenate(subsets)), Path(root) / "baselines"
        train = (pixel_features(images.train, room, labelled), images.train.labels[labelled])
        test = (pixel_features(images.test, room), images.test.labels)
        chosen = [np.searchsorted(labelled, subset) for subset in subsets]
        return evaluate(LogisticRegression(strengths), train, test, chosen, seed)

    identity = {"baseline": "pixels", **_protocol(images, subsets, seed), "strengths": strengths}
    if of_many(subsets):
        identity["solver"] = "a few images at a time"
    return _once(root, "the raw-pixel baseline", identity, measure, report)


def untrained_baseline(
    cell: Cell,
    images: Images,
    features: Callable[[], Features],
    subsets: Sequence[Positions],
    report: Report,
    part: Part,
) -> Evaluation:
    """The cell's probe on its network before the first step, measured once for all cells that begin with it.

    Those are the cells with this data, label protocol, probe, encoder, head up to the layer, and view, whatever they
    are trained with.

    Args:
        cell: what is asked.
        images: the data.
        features: gives what that network makes of them, and makes it if need be.
        subsets: positions of the labelled images, one array per draw.
        report: takes what there is to say.
        part: keeps the time.
    """
    config = cell.config

    def measure(_: Path, __: Claim) -> Evaluation:
        found = features()
        train, test = (found.train, images.train.labels), (found.test, images.test.labels)
        with part("probes"), threadpool_limits(1):
            return evaluate(build_probe(config.probe), train, test, subsets, config.seed)

    identity = {
        "baseline": "untrained",
        **_protocol(images, subsets, config.seed),
        "network": _network(config.encoder, config.head, cell.layer.name),
        "encoder": asdict(config.encoder),
        "side": config.pretrain.side,
        "channels": images.train.channels,
        "view": str(probed_view(config.probe, config.augment)),
        "probe": config.probe.name,
        "strengths": list(config.probe.strengths),
        "neighbours": list(config.probe.neighbours),
    }
    return _once(config.root, f"the untrained network's {cell.layer.name}", identity, measure, report)


def supervised_baseline(
    root: str,
    recipe: Recipe,
    probe: ProbeConfig,
    images: Images,
    layer: str,
    subsets: Sequence[Positions],
    report: Report,
) -> Evaluation:
    """The cell's network trained from its first weights with the labels of each subset, a classifier on ``layer``.

    It is :class:`.finetune.FineTuning` without a pretraining, measured once for all cells with this data, label
    protocol, encoder and layer, whatever they do about colours, loss, optimizer, or the head after that layer. Each
    finished subset is kept, so that a measurement that is stopped goes on with the next one.

    Args:
        root: everything is kept below it.
        recipe: the network, augmentation and seed.
        probe: how to train.
        images: the data.
        layer: the representation that the classifier takes; the network ends there.
        subsets: positions of the labelled images, one array per draw.
        report: takes what there is to say.
    """

    def measure(folder: Path, claim: Claim) -> Evaluation:
        fits: list[Fitted] = []
        procedure = None
        for number, subset in enumerate(subsets):
            kept = folder / f"subset-{number}.npz"
            fit = _fit_of(kept)
            if fit is None:
                if procedure is None:
                    from simclr.evaluation.finetune import FineTuning
                    from simclr.training.runtime import start_tensorflow

                    start_tensorflow(recipe.pretrain.threads, xla=recipe.pretrain.xla)
                    procedure = FineTuning(recipe, probe, images, layer, None, Path(root) / "baselines")
                report(f"{what}, {len(subset)} labels: subset {number + 1} of {len(subsets)}")
                claim.tell(subset=number + 1, subsets=len(subsets))
                fit = procedure(subset)
                _keep(kept, fit)
            fits.append(fit)
        return judged(fits, images.train.labels, images.test.labels, subsets)

    what = f"{recipe.encoder.name} trained to {layer} with labels alone"
    identity = {
        "baseline": "supervised",
        **_protocol(images, subsets, recipe.seed),
        "network": _network(recipe.encoder, recipe.head, layer),
        **_norm(recipe.head, layer),
        "encoder": asdict(recipe.encoder),
        "augment": _geometry(recipe.augment),
        "side": recipe.pretrain.side,
        "size": int(recipe.pretrain.sizes[-1][0]),
        "view": str(probed_view(probe, recipe.augment)),
        "precision": resolve_precision(recipe.pretrain.precision),
        "training": {key: getattr(probe, key.removeprefix("probe.")) for key in LABELLED_TRAINING},
    }
    return _once(root, what, identity, measure, report)


def _protocol(images: Images, subsets: Sequence[Positions], seed: int) -> dict[str, Any]:
    return {
        "version": VERSION,
        "data": images.content.labelled,
        "image_size": images.train.side,
        "subsets": [subset.tolist() for subset in subsets],
        "seed": seed,
    }


def _network(encoder: EncoderConfig, head: HeadConfig, layer: str) -> list[tuple[str, int]]:
    """What stands between the encoder's stages and the classifier; for a stage, that stage."""
    on_the_way = list(reversed(head_layers(encoder, head)))
    names = [each.name for each in on_the_way]
    if layer not in names:
        return [(layer, 0)]
    return [(each.name, each.width) for each in on_the_way[: names.index(layer) + 1]]


def _norm(head: HeadConfig, layer: str) -> dict[str, Any]:
    """The head's norm, where one is on the way; a projection below one has no bias, and is another one too."""
    counts = decisive(head, Decides.WEIGHTS)
    on_the_way = layer in [each.name for each in forward_layers(head)]
    return {f"head.{key}": counts[key] for key in ("norm", "norm_momentum") if on_the_way and key in counts}


def _geometry(augment: AugmentConfig) -> dict[str, Any]:
    """How labelled images vary.

    What settings say that came later counts where they say something new: a baseline from before them is found again.
    """
    geometry = labelled_augment(augment)
    counts = decisive(geometry, Decides.WEIGHTS)
    return {key: value for key, value in asdict(geometry).items() if key in counts or key not in CAME_LATER}


def _once(
    root: str, what: str, identity: dict[str, Any], measure: Callable[[Path, Claim], Evaluation], report: Report
) -> Evaluation:
    """A baseline that is measured once, by one process, and kept in ``<root>/baselines/<hash of its identity>``."""
    folder = Path(root) / "baselines" / fingerprint(identity)[:16]
    place = Place(what, folder)

    def find() -> Evaluation | None:
        try:
            manifest = sealed(folder)
            return None if manifest is None else _read(folder)
        except Damaged:
            return None

    def make(claim: Claim) -> Evaluation:
        make_folder(folder)
        try:
            sealed(folder)
        except Damaged as damage:
            report(f"{folder}: {damage}: set aside as {set_aside(folder).name}, and measured again")
            make_folder(folder)
        evaluation = measure(folder, claim)
        write_whole(folder / "record.json", json.dumps(evaluation.record).encode())
        save_arrays(folder / "predictions.npz", {"predictions": evaluation.predictions})
        seal(folder, ["record.json", "predictions.npz"], {"baseline": identity["baseline"], "data": identity["data"]})
        for part in folder.glob("subset-*.npz"):
            part.unlink()
        return evaluation

    found = made_once(place, find, make, report)
    assert found is not None  # it waits
    return found


def _read(folder: Path) -> Evaluation:
    record = json.loads((folder / "record.json").read_bytes())
    (predictions,) = load_arrays(folder / "predictions.npz").values()
    return Evaluation(record, predictions)


def _keep(path: Path, fit: Fitted) -> None:
    known = [] if fit.validation_accuracy is None else [fit.validation_accuracy]
    best = {} if fit.best is None else {"best": fit.best}
    save_arrays(path, {"train": fit.train, "test": fit.test, "validation_accuracy": np.array(known), **best})


def _fit_of(path: Path) -> Fitted | None:
    """A subset that is finished; None where it is not, or its file cannot be read."""
    try:
        arrays = load_arrays(path)
        validation_accuracy = next(iter(arrays["validation_accuracy"].tolist()), None)
        return Fitted(arrays["train"], arrays["test"], validation_accuracy, arrays.get("best"))
    except (Damaged, KeyError):
        return None


def pixel_features(split: AnySplit, room: Path, positions: Positions | None = None) -> NDArray[np.uint8]:
    """Raw pixels of the whole images at these positions, or all, at 32 x 32 or less: (N, side * side * C) uint8.

    Of many images they are in a file below the folder ``room``.
    """
    count = len(split if positions is None else positions)
    small = gathered((_small(pixels) for pixels, _ in split.chunks(CHUNK, positions)), count, room)
    return small.reshape(count, -1)


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, S, S, C) as (N, 32, 32[, C]); smaller ones as they are."""
    if pixels.shape[1] <= PIXELS_SIDE:
        return np.asarray(pixels)
    mode, size = {1: "L", 3: "RGB"}[pixels.shape[-1]], (PIXELS_SIDE, PIXELS_SIDE)
    images = (Image.fromarray(np.asarray(each).squeeze(), mode) for each in pixels)
    return np.stack([np.asarray(each.resize(size, Image.Resampling.BILINEAR)) for each in images])
