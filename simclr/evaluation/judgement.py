"""What classifiers that were fitted to one labelled subset each come to: a record, and the class of each test image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simclr.data.labels import Labels, Positions
from simclr.evaluation import accuracy

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Fitted:
    """One probe on one subset: classes it gives to its own images and to the test's, and its accuracy by validation."""

    train: Labels
    test: Labels
    validation_accuracy: float | None


@dataclass(frozen=True)
class Evaluation:
    """A representation's record over the label subsets, and the class given to each test image by each (S, m)."""

    record: dict[str, Any]
    predictions: Labels


def judged(fits: Sequence[Fitted], labels: Labels, test_labels: Labels, subsets: Sequence[Positions]) -> Evaluation:
    """The record of classifiers that were fitted to one labelled subset each.

    Args:
        fits: one per subset.
        labels: (N,) of the training images.
        test_labels: (m,).
        subsets: positions of labelled images, one array per draw.
    """
    predictions = np.stack([fit.test for fit in fits])
    classes = int(labels.max()) + 1
    confusion = np.zeros((classes, classes), dtype=int)
    np.add.at(confusion, (np.broadcast_to(test_labels, predictions.shape), predictions), 1)
    record = {
        "test_accuracy": accuracy.summary(predictions == test_labels),
        "validation_accuracy": _over_subsets([fit.validation_accuracy for fit in fits]),
        "train_accuracy": _over_subsets(
            [float(np.mean(fit.train == labels[subset])) for fit, subset in zip(fits, subsets, strict=True)]
        ),
        "confusion": confusion.tolist(),
    }
    return Evaluation(record, predictions)


def _over_subsets(values: list[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return {"mean": float(np.mean(known)) if known else None, "std": spread, "values": values}
