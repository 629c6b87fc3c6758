"""What a cell is asked: how much its representation knows, beside networks and pixels that it has to beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from simclr.evaluation import representation
from simclr.evaluation.baseline import Part, pixel_baseline, supervised_baseline, untrained_baseline
from simclr.evaluation.judgement import MANY, Evaluation, confused, confusion, judged
from simclr.evaluation.linear import of_many
from simclr.evaluation.neighbours import WeightedNeighbours, are_many
from simclr.evaluation.probe import build_probe, evaluate, label_subsets
from simclr.records.result import CONFUSION, PREDICTIONS, Arrays

if TYPE_CHECKING:
    from simclr.config.cell import Cell
    from simclr.data import Images
    from simclr.data.labels import Positions
    from simclr.store import Features, Pretraining
    from simclr.store.once import Report


def measure(
    cell: Cell,
    images: Images,
    pretraining: Pretraining,
    features: Features,
    untrained: Callable[[], Features],
    part: Part,
    report: Report,
) -> tuple[dict[str, Any], Arrays]:
    """Probe the representation and its baselines on the same label subsets, and describe it.

    Args:
        cell: what is asked.
        images: the data.
        pretraining: the cell's, for a probe that trains the network itself.
        features: what that network makes of the images at the cell's layer.
        untrained: gives what the same makes of them before its first step.
        part: keeps the time of ``probes`` and ``baselines``.
        report: takes a line about a long step.

    Returns:
        The measured parts of the record, and arrays beside it: the class given to each test image by representation,
        with ``labels``, and of many classes the confusion matrix; none with ``probe=none``.
    """
    config = cell.config
    if config.probe.name == "none":
        with part("probes"), threadpool_limits(1):
            described = _described(images, features)
        return {"probe": None, "baselines": {}, "representation": described}, {}
    labels, test_labels = images.train.labels, images.test.labels
    subsets = label_subsets(config.probe, labels, config.seed)
    if config.probe.name == "documents" or of_many(subsets) or are_many(labels, test_labels):
        from simclr.training.runtime import start_tensorflow

        # As in training: another number of threads gives other last bits.
        start_tensorflow(config.pretrain.threads, xla=config.pretrain.xla)
    fine_tuning = config.probe.name == "finetune"
    # A probe's problems are small: two threads lose more than they win, all the more on a busy machine.
    with part("probes"), threadpool_limits(1):
        if fine_tuning:
            trained = _fine_tuned(cell, images, pretraining, subsets, report)
        else:
            seen = (features.train, labels), (features.test, test_labels)
            trained = evaluate(build_probe(config.probe), *seen, subsets, config.seed)
        pixels = pixel_baseline(config.root, config.probe, images, subsets, config.seed, report)
    evaluations = {"trained": trained, "pixels": pixels}
    everything = [np.arange(len(labels))]
    if fine_tuning:
        trainings = [("untrained", cell.layer.name, subsets)]
    else:
        evaluations["untrained"] = untrained_baseline(cell, images, untrained, subsets, report, part)
        trainings = []
    if config.baselines:
        trainings += [("supervised_subset", "encoder", subsets), ("supervised_all", "encoder", everything)]
    for name, layer, labelled in trainings:
        with part("baselines"):
            evaluations[name] = supervised_baseline(
                config.root, config.recipe, config.probe, images, layer, labelled, report
            )
    # One thread here too: where others want the cores, a decomposition on all of them is many times slower.
    with part("probes"), threadpool_limits(1):
        described = _described(images, features)
    counts = confusion(trained.predictions, test_labels, len(images.classes))
    mistakes, arrays = _mistakes(counts, images.classes)
    measured = {
        "probe": {**trained.record, **mistakes, "classes": list(images.classes)},
        "baselines": {name: each.record["test_accuracy"] for name, each in evaluations.items() if each is not trained},
        "representation": described,
    }
    predictions = {name: each.predictions.astype(np.int16) for name, each in evaluations.items()}
    return measured, {PREDICTIONS: {**predictions, "labels": test_labels.astype(np.int16)}, **arrays}


def _mistakes(counts: NDArray[np.int64], classes: Sequence[str]) -> tuple[dict[str, Any], Arrays]:
    """What the record says of a confusion matrix, and the file that it is in where it would fill the record."""
    most = {"confused": confused(counts, classes)}
    if len(classes) < MANY:
        return {"confusion": counts.tolist(), **most}, {}
    return {"confusion": None, **most}, {CONFUSION: {"counts": counts}}


def _described(images: Images, features: Features) -> dict[str, float | None]:
    """What the probed representation is like, by itself and, where there are any, beside the labels."""
    train, test = features.train, features.test
    knn = None
    if images.classes:
        nearest = WeightedNeighbours((20,)).classify(train, images.train.labels, test, 20)
        knn = float(np.mean(nearest == images.test.labels))
    return {
        "alignment": features.alignment,
        "uniformity": representation.uniformity(test),
        "effective_rank": representation.effective_rank(train),
        "knn_accuracy": knn,
    }


def _fine_tuned(
    cell: Cell, images: Images, pretraining: Pretraining, subsets: list[Positions], report: Report
) -> Evaluation:
    """The whole network trained further with labels, from its pretrained weights."""
    from simclr.training.runtime import start_tensorflow

    recipe = cell.config.recipe
    start_tensorflow(recipe.pretrain.threads, xla=recipe.pretrain.xla)
    from simclr.evaluation.finetune import FineTuning

    weights, room = pretraining.weights(), pretraining.folder
    procedure = FineTuning(recipe, cell.config.probe, images, cell.layer.name, weights, room)
    fits = []
    for number, subset in enumerate(subsets, start=1):
        report(f"fine-tuning from {cell.layer.name}, {len(subset)} labels: subset {number} of {len(subsets)}")
        fits.append(procedure(subset))
    return judged(fits, images.train.labels, images.test.labels, subsets)
