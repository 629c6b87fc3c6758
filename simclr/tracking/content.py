"""What there is to say of a measured cell: its numbers, its pictures, its predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simclr.data.labels import drawn
from simclr.tracking import drawing

if TYPE_CHECKING:
    import wandb

MOST_ROWS = 1000
"""Test images in a table of predictions; of more, of each class its share."""


@dataclass(frozen=True)
class Material:
    """What a cell's pictures are made of, but for what its probe says.

    Attributes:
        history: a row per epoch, as the pretraining's history has them.
        features: (N, D), the probed representation of the test images, or of those without labels that there are.
        labels: (N,), each one's position in ``classes``.
        classes: their names.
        views: (M, 2, H, W, C) in [0, 1], a few pairs of views as the network sees them.
        names: of the N test images.
    """

    history: Sequence[Mapping[str, float]]
    features: NDArray[Any]
    labels: NDArray[Any]
    classes: Sequence[str]
    views: NDArray[Any]
    names: Sequence[str] = ()


def accuracies(record: Mapping[str, Any]) -> dict[str, float]:
    """What a cell is about: its test accuracy with its interval, and the two that it has to beat."""
    accuracy, baselines = record["probe"]["test_accuracy"], record.get("baselines") or {}
    low, high = accuracy["ci95"]
    named = {
        "probe/test_accuracy": accuracy["mean"],
        "probe/test_accuracy_low": low,
        "probe/test_accuracy_high": high,
        **{f"probe/{name}_accuracy": baseline["mean"] for name, baseline in baselines.items()},
    }
    return {name: float(value) for name, value in named.items() if value is not None}


def summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """The rest of a record, for the run's summary."""
    facts = {name: record.get(name) for name in ("status", "error", "seconds")}
    for part in ("pretraining", "representation", "host"):
        facts.update({f"{part}/{name}": value for name, value in (record.get(part) or {}).items()})
    for name, value in (record.get("probe") or {}).items():
        if isinstance(value, Mapping) and "mean" in value and name != "test_accuracy":
            facts[f"probe/{name}"] = value["mean"]
    return {name: value for name, value in facts.items() if not isinstance(value, float) or math.isfinite(value)}


def drawings(record: Mapping[str, Any], material: Material | None) -> dict[str, Callable[[], drawing.Picture]]:
    """What draws each picture of a cell, by name, once it is called."""
    made: dict[str, Callable[[], drawing.Picture]] = {}
    if material is not None:
        seed = record["cell"]["seed"]
        made["tsne"] = partial(drawing.scatter, material.features, material.labels, material.classes, seed)
        if material.history:
            made["loss"] = partial(drawing.loss_curve, material.history)
        if len(material.views):
            made["views"] = partial(drawing.view_grid, material.views)
    probe = record.get("probe") or {}
    if probe.get("confusion") and len(probe["classes"]) <= drawing.MOST_CLASSES:
        made["confusion"] = partial(drawing.confusion, probe["confusion"], probe["classes"])
    elif probe.get("confused"):
        made["confused"] = partial(drawing.confused, probe["confused"])
    return made


def table(predictions: Mapping[str, NDArray[Any]], classes: Sequence[str], names: Sequence[str]) -> wandb.Table:
    """A row per test image: what it is, what most probes say, and how many of them are right."""
    import wandb

    places = drawn(predictions["labels"], MOST_ROWS, 0)
    labels = predictions["labels"][places]
    columns: dict[str, list[Any]] = {
        "image": [str(names[number]) if number < len(names) else str(number) for number in places],
        "class": [classes[label] for label in labels],
    }
    for representation, given in predictions.items():
        if representation != "labels":
            said = np.atleast_2d(given)[:, places]
            votes = np.stack([(said == number).sum(axis=0) for number in range(len(classes))])
            columns[representation] = [classes[number] for number in votes.argmax(axis=0)]
            columns[f"{representation}, share right"] = [float(share) for share in (said == labels).mean(axis=0)]
    return wandb.Table(columns=list(columns), data=[list(row) for row in zip(*columns.values(), strict=True)])
