"""What a cell is asked: how much its representation knows, beside networks and pixels that it has to beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from simclr.evaluation import representation
from simclr.evaluation.baseline import Comparison, Part, pixel_baseline, supervised_baseline, untrained_baseline
from simclr.evaluation.judgement import MANY, Evaluation, confused, confusion, judged
from simclr.evaluation.linear import of_many
from simclr.evaluation.neighbours import WeightedNeighbours, are_many
from simclr.evaluation.probe import build_probe, evaluate, label_subsets
from simclr.records.result import CONFUSION, PREDICTIONS, Arrays

if TYPE_CHECKING:
    from simclr.config.cell import Cell
    from simclr.data import Images
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
    asked, layer = Comparison(config.root, config.recipe, config.probe, images, subsets, report), cell.layer.name
    fine_tuning = config.probe.name == "finetune"
    # A probe's problems are small: two threads lose more than they win, all the more on a busy machine.
    with part("probes"), threadpool_limits(1):
        if fine_tuning:
            trained = _fine_tuned(asked, layer, pretraining)
        else:
            seen = (features.train, labels), (features.test, test_labels)
            trained = evaluate(build_probe(config.probe), *seen, subsets, config.seed)
        evaluations = {"trained": trained, "pixels": pixel_baseline(asked)}
    trainings = [("untrained", layer, asked)] if fine_tuning else []
    if not fine_tuning:
        evaluations["untrained"] = untrained_baseline(asked, layer, untrained, part)
    if config.baselines:
        everything = replace(asked, subsets=[np.arange(len(labels))])
        trainings += [("supervised_subset", "encoder", asked), ("supervised_all", "encoder", everything)]
    for name, classified, of in trainings:
        with part("baselines"):
            evaluations[name] = supervised_baseline(of, classified)
    # One thread here too: where others want the cores, a decomposition on all of them is many times slower.
    with part("probes"), threadpool_limits(1):
        described = _described(images, features)
    counts, classes = confusion(trained.predictions, test_labels, len(images.classes)), list(images.classes)
    # A large matrix would fill the record: it is a file beside it.
    listed, arrays = (counts.tolist(), {}) if len(classes) < MANY else (None, {CONFUSION: {"counts": counts}})
    measured = {
        "probe": {**trained.record, "confusion": listed, "confused": confused(counts, classes), "classes": classes},
        "baselines": {name: each.record["test_accuracy"] for name, each in evaluations.items() if each is not trained},
        "representation": described,
    }
    predictions = {name: each.predictions.astype(np.int16) for name, each in evaluations.items()}
    return measured, {PREDICTIONS: {**predictions, "labels": test_labels.astype(np.int16)}, **arrays}


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


def _fine_tuned(asked: Comparison, layer: str, pretraining: Pretraining) -> Evaluation:
    """The whole network trained further with labels, from its pretrained weights."""
    procedure, fits = asked.fine_tuning(layer, pretraining.weights()), []
    for number, subset in enumerate(asked.subsets, start=1):
        asked.report(f"fine-tuning from {layer}, {len(subset)} labels: subset {number} of {len(asked.subsets)}")
        fits.append(procedure(subset))
    return judged(fits, asked.images.train.labels, asked.images.test.labels, asked.subsets)
