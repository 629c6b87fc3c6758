"""What needs no pretraining: the numbers that a pretrained representation has to beat."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from simclr.config.cell import fingerprint, head_layers, labelled_augment, probed_view
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

if TYPE_CHECKING:
    from simclr.evaluation.finetune import FineTuning

PIXELS_SIDE = 32
CHUNK = 256
VERSION = 2
"""Counts changes in what the baselines mean: under another number they are measured again."""

Part = Callable[[str], AbstractContextManager[None]]
"""A block that does this part of the work (``probes`` or ``baselines``), for whoever keeps the time."""

CAME_LATER = ("crop_fit", "blur_draw")
"""Settings of views that are younger than the first baselines."""


@dataclass(frozen=True)
class Comparison:
    """What a cell's representation and its baselines are compared on; every baseline takes what it needs of it.

    Attributes:
        root: baselines are kept below it, in ``baselines``.
        recipe: the network, augmentation and seed.
        probe: how the cell is probed, and how a network is trained with labels.
        images: the data.
        subsets: positions of the labelled images, one array per draw.
        report: takes what there is to say.
    """

    root: str
    recipe: Recipe
    probe: ProbeConfig
    images: Images
    subsets: Sequence[Positions]
    report: Report

    @property
    def room(self) -> Path:
        """Where baselines are kept, on a disk with room for what they need meanwhile."""
        return Path(self.root) / "baselines"

    def fine_tuning(self, layer: str, weights: dict[str, NDArray[Any]] | None = None) -> FineTuning:
        """Training this network with labels, as :class:`.finetune.FineTuning` says; TensorFlow is started for it."""
        from simclr.training.runtime import start_tensorflow

        start_tensorflow(self.recipe.pretrain.threads, xla=self.recipe.pretrain.xla)
        from simclr.evaluation.finetune import FineTuning

        return FineTuning(self.recipe, self.probe, self.images, layer, weights, self.room)


def pixel_baseline(asked: Comparison) -> Evaluation:
    """Logistic regression on raw pixels: measured once for a data set and label protocol."""
    images, strengths = asked.images, tuple(asked.probe.strengths)

    def measure(_: Path, __: Claim) -> Evaluation:
        # Of a large set most images are in no subset, and need not be looked at.
        labelled = np.unique(np.concatenate(asked.subsets))
        train = (pixel_features(images.train, asked.room, labelled), images.train.labels[labelled])
        test = (pixel_features(images.test, asked.room), images.test.labels)
        chosen = [np.searchsorted(labelled, subset) for subset in asked.subsets]
        return evaluate(LogisticRegression(strengths), train, test, chosen, asked.recipe.seed)

    identity = {"baseline": "pixels", **_protocol(asked), "strengths": strengths}
    if of_many(asked.subsets):
        identity["solver"] = "a few images at a time"
    return _once(asked, "the raw-pixel baseline", identity, measure)


def untrained_baseline(asked: Comparison, layer: str, features: Callable[[], Features], part: Part) -> Evaluation:
    """The cell's probe on its network before the first step, measured once for all cells that begin with it.

    Those are the cells with this data, label protocol, probe, encoder, head up to the layer, and view, whatever they
    are trained with.

    Args:
        asked: the question.
        layer: the representation that is probed.
        features: gives what that network makes of the images there, and makes it if need be.
        part: keeps the time.
    """
    recipe, probe, images = asked.recipe, asked.probe, asked.images

    def measure(_: Path, __: Claim) -> Evaluation:
        found = features()
        train, test = (found.train, images.train.labels), (found.test, images.test.labels)
        with part("probes"), threadpool_limits(1):
            return evaluate(build_probe(probe), train, test, asked.subsets, recipe.seed)

    identity = {
        "baseline": "untrained",
        **_protocol(asked),
        "network": _network(recipe.encoder, recipe.head, layer),
        "encoder": asdict(recipe.encoder),
        "side": recipe.pretrain.side,
        "channels": images.train.channels,
        "view": str(probed_view(probe, recipe.augment)),
        "probe": probe.name,
        "strengths": list(probe.strengths),
        "neighbours": list(probe.neighbours),
    }
    return _once(asked, f"the untrained network's {layer}", identity, measure)


def supervised_baseline(asked: Comparison, layer: str) -> Evaluation:
    """The cell's network trained from its first weights with the labels of each subset, a classifier on ``layer``.

    It is :class:`.finetune.FineTuning` without a pretraining, measured once for all cells with this data, label
    protocol, encoder and layer, whatever they do about colours, loss, optimizer, or the head after that layer. Each
    finished subset is kept, so that a measurement that is stopped goes on with the next one.
    """
    recipe, probe, images = asked.recipe, asked.probe, asked.images

    def measure(folder: Path, claim: Claim) -> Evaluation:
        fits: list[Fitted] = []
        procedure = None
        for number, subset in enumerate(asked.subsets):
            kept = folder / f"subset-{number}.npz"
            fit = _fit_of(kept)
            if fit is None:
                procedure = procedure or asked.fine_tuning(layer)
                asked.report(f"{what}, {len(subset)} labels: subset {number + 1} of {len(asked.subsets)}")
                claim.tell(subset=number + 1, subsets=len(asked.subsets))
                fit = procedure(subset)
                _keep(kept, fit)
            fits.append(fit)
        return judged(fits, images.train.labels, images.test.labels, asked.subsets)

    what = f"{recipe.encoder.name} trained to {layer} with labels alone"
    identity = {
        "baseline": "supervised",
        **_protocol(asked),
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
    return _once(asked, what, identity, measure)


def _protocol(asked: Comparison) -> dict[str, Any]:
    return {
        "version": VERSION,
        "data": asked.images.content.labelled,
        "image_size": asked.images.train.side,
        "subsets": [subset.tolist() for subset in asked.subsets],
        "seed": asked.recipe.seed,
    }


def _network(encoder: EncoderConfig, head: HeadConfig, layer: str) -> list[tuple[str, int]]:
    """What stands between the encoder's stages and the classifier; for a stage, that stage."""
    forward = [(each.name, each.width) for each in reversed(head_layers(encoder, head))]
    names = [name for name, _ in forward]
    return forward[: names.index(layer) + 1] if layer in names else [(layer, 0)]


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
    asked: Comparison, what: str, identity: dict[str, Any], measure: Callable[[Path, Claim], Evaluation]
) -> Evaluation:
    """A baseline that is measured once, by one process, and kept in ``<root>/baselines/<hash of its identity>``."""
    folder = asked.room / fingerprint(identity)[:16]

    def find() -> Evaluation | None:
        try:
            if sealed(folder) is None:
                return None
            (predictions,) = load_arrays(folder / "predictions.npz").values()
            return Evaluation(json.loads((folder / "record.json").read_bytes()), predictions)
        except Damaged:
            return None

    def make(claim: Claim) -> Evaluation:
        make_folder(folder)
        try:
            sealed(folder)
        except Damaged as damage:
            asked.report(f"{folder}: {damage}: set aside as {set_aside(folder).name}, and measured again")
            make_folder(folder)
        evaluation = measure(folder, claim)
        write_whole(folder / "record.json", json.dumps(evaluation.record).encode())
        save_arrays(folder / "predictions.npz", {"predictions": evaluation.predictions})
        seal(folder, ["record.json", "predictions.npz"], {"baseline": identity["baseline"], "data": identity["data"]})
        for part in folder.glob("subset-*.npz"):
            part.unlink()
        return evaluation

    found = made_once(Place(what, folder), find, make, asked.report)
    assert found is not None  # it waits
    return found


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
