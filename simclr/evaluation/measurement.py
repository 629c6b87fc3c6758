"""What a cell is asked: how much its representation knows, beside networks and pixels that it has to beat."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from simclr.evaluation import representation
from simclr.evaluation.baseline import pixel_baseline, supervised_baseline
from simclr.evaluation.judgement import Evaluation, judged
from simclr.evaluation.linear import of_many
from simclr.evaluation.neighbours import WeightedNeighbours
from simclr.evaluation.probe import build_probe, evaluate, label_subsets

if TYPE_CHECKING:
    from simclr.config.cell import Cell
    from simclr.data import Images
    from simclr.data.labels import Positions
    from simclr.store import Features, Pretraining
    from simclr.store.claim import Report


def measure(
    cell: Cell,
    images: Images,
    pretraining: Pretraining,
    features: Features,
    part: Callable[[str], AbstractContextManager[None]],
    report: Report,
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Probe the representation and its baselines on the same label subsets, and describe it.

    Args:
        cell: what is asked.
        images: the data.
        pretraining: the cell's, for a probe that trains the network itself.
        features: what that network, and the same before its first step, make of the images.
        part: a block that does this part of the work (``probes`` or ``baselines``), for whoever keeps the time.
        report: takes a line about a long step.

    Returns:
        The measured parts of the record, and the class given to each test image by representation, with ``labels``;
        None with ``probe=none``, which gives none.
    """
    from threadpoolctl import threadpool_limits

    config = cell.config
    if config.probe.name == "none":
        with part("probes"), threadpool_limits(1):
            described = _described(cell, images, features)
        return {"probe": None, "baselines": {}, "representation": described}, None
    labels, test_labels = images.train.labels, images.test.labels
    subsets = label_subsets(config.probe, labels, config.seed)
    fine_tuning = config.probe.name == "finetune"
    if of_many(subsets):
        from simclr.training.runtime import start_tensorflow

        # As in training: another number of threads gives other last bits.
        start_tensorflow(config.pretrain.threads, xla=config.pretrain.xla)
    # A probe's problems are small: two threads lose more than they win, all the more on a busy machine.
    with part("probes"), threadpool_limits(1):
        if fine_tuning:
            evaluations = {"trained": _fine_tuned(cell, images, pretraining, subsets, report)}
        else:
            evaluations = _probed(cell, images, features, subsets)
        evaluations["pixels"] = pixel_baseline(config.root, config.probe, images, subsets, config.seed, report)
    everything = [np.arange(len(labels))]
    trainings = [("untrained", cell.layer.name, subsets)] if fine_tuning else []
    if config.baselines:
        trainings += [("supervised_subset", "encoder", subsets), ("supervised_all", "encoder", everything)]
    for name, layer, labelled in trainings:
        with part("baselines"):
            evaluations[name] = supervised_baseline(
                config.root, config.recipe, config.probe, images, layer, labelled, report
            )
    # One thread here too: where others want the cores, a decomposition on all of them is many times slower.
    with part("probes"), threadpool_limits(1):
        described = _described(cell, images, features)
    measured = {
        "probe": {**evaluations["trained"].record, "classes": list(images.classes)},
        "baselines": {name: each.record["test_accuracy"] for name, each in evaluations.items() if name != "trained"},
        "representation": described,
    }
    predictions = {name: each.predictions.astype(np.int16) for name, each in evaluations.items()}
    return measured, {**predictions, "labels": test_labels.astype(np.int16)}


def _described(cell: Cell, images: Images, features: Features) -> dict[str, float | None]:
    """What the probed representation is like, by itself and, where there are any, beside the labels."""
    train, test = features.of("trained", cell.layer.name)
    knn = None
    if images.classes:
        nearest = WeightedNeighbours((20,)).classify(train, images.train.labels, test, 20)
        knn = float(np.mean(nearest == images.test.labels))
    return {
        "alignment": features.alignment(cell.layer.name),
        "uniformity": representation.uniformity(test),
        "effective_rank": representation.effective_rank(train),
        "knn_accuracy": knn,
    }


def _probed(cell: Cell, images: Images, features: Features, subsets: list[Positions]) -> dict[str, Evaluation]:
    """The probe on features of the frozen network, trained and before its first step."""
    config = cell.config
    if config.probe.name == "documents":
        from simclr.training.runtime import start_tensorflow

        start_tensorflow(config.pretrain.threads, xla=config.pretrain.xla)
    probe = build_probe(config.probe)
    seen = {name: features.of(name, cell.layer.name) for name in ("trained", "untrained")}
    labels, test_labels = images.train.labels, images.test.labels
    return {
        name: evaluate(probe, (train, labels), (test, test_labels), subsets, config.seed)
        for name, (train, test) in seen.items()
    }


def _fine_tuned(
    cell: Cell, images: Images, pretraining: Pretraining, subsets: list[Positions], report: Report
) -> Evaluation:
    """The whole network trained further with labels, from its pretrained weights."""
    from simclr.training.runtime import start_tensorflow

    recipe = cell.config.recipe
    start_tensorflow(recipe.pretrain.threads, xla=recipe.pretrain.xla)
    from simclr.evaluation.finetune import FineTuning

    procedure = FineTuning(recipe, cell.config.probe, images, cell.layer.name, pretraining.weights())
    fits = []
    for number, subset in enumerate(subsets, start=1):
        report(f"fine-tuning from {cell.layer.name}, {len(subset)} labels: subset {number} of {len(subsets)}")
        fits.append(procedure(subset))
    return judged(fits, images.train.labels, images.test.labels, subsets)
