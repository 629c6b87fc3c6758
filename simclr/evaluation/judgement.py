"""What classifiers that were fitted to one labelled subset each come to: a record, and the class of each test image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simclr.data.labels import Labels, Positions
from simclr.evaluation.uncertainty import summary

Features = NDArray[np.float32]

FROM = 20
"""Classes from which on it is recorded too whether the true one is among the best :data:`BEST`."""
BEST = 5
MANY = 100
"""Classes from which on a confusion matrix is a file beside the record."""
MOST = 10
"""Pairs of classes that a record names."""


@dataclass(frozen=True)
class Fitted:
    """One probe on one subset: what it says of its own images and of the test's.

    Attributes:
        train, test: the class given to each image, (n,) and (m,).
        validation_accuracy: by which its settings were chosen; None where nothing could be held out.
        best: (m, 5), the classes of highest score of each test image; None of fewer than :data:`FROM` classes.
    """

    train: Labels
    test: Labels
    validation_accuracy: float | None
    best: Labels | None = None


@dataclass(frozen=True)
class Evaluation:
    """A representation's record over the label subsets, and the class given to each test image by each (S, m)."""

    record: dict[str, Any]
    predictions: Labels


def best_classes(scores: NDArray[Any], classes: Labels) -> Labels | None:
    """The classes (m, 5) with the highest of their scores (m, C), in no order; None of few classes.

    ``classes`` (C,) are those that the columns stand for.
    """
    if len(classes) < FROM:
        return None
    return np.asarray(classes)[np.argpartition(-scores, BEST, axis=1)[:, :BEST]]


def judged(fits: Sequence[Fitted], labels: Labels, test_labels: Labels, subsets: Sequence[Positions]) -> Evaluation:
    """The record of classifiers, each fitted to a subset of the training images' labels (N,), on the test's (m,)."""
    predictions = np.stack([fit.test for fit in fits])
    near = [(fit.best == test_labels[:, None]).any(axis=1) for fit in fits if fit.best is not None]
    record = {
        "test_accuracy": summary(predictions == test_labels),
        "top5_accuracy": summary(np.stack(near)) if near else None,
        "validation_accuracy": _over_subsets([fit.validation_accuracy for fit in fits]),
        "train_accuracy": _over_subsets(
            [float(np.mean(fit.train == labels[subset])) for fit, subset in zip(fits, subsets, strict=True)]
        ),
    }
    return Evaluation(record, predictions)


def confusion(predictions: Labels, labels: Labels, classes: int) -> NDArray[np.int64]:
    """How often images of each class (rows) were given each class (columns): (C, C).

    ``predictions`` (S, m) are each subset's classifier's, ``labels`` (m,) what the images are.
    """
    pairs = labels.astype(np.int64) * classes + predictions
    return np.bincount(pairs.ravel(), minlength=classes**2).reshape(classes, classes)


def confused(counts: NDArray[np.int64], classes: Sequence[str]) -> list[dict[str, Any]]:
    """The pairs of classes that are mistaken most often: which is taken for which, and how often."""
    mistakes = counts * (1 - np.eye(len(counts), dtype=np.int64))
    most = np.argsort(-mistakes, axis=None, kind="stable")[:MOST]
    pairs = [divmod(int(place), len(counts)) for place in most]
    return [
        {"true": classes[true], "given": classes[given], "count": int(mistakes[true, given])}
        for true, given in pairs
        if mistakes[true, given]
    ]


def _over_subsets(values: list[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return {"mean": float(np.mean(known)) if known else None, "std": spread, "values": values}
