"""Cells that differ in nothing but the seed are one group: the unit that a report speaks of.

What two groups differ in is an *axis*. Head and layer have their own place in every table and picture; the others
(temperature, augmentation, label fraction, ...) together are a *setting*.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from simclr.config import LABELLED_TRAINING, Config, Decides, settings
from simclr.report.records import CellRecord

KINDS = ("dense", "norm", "relu")
"""The layers that a head repeats, in order."""

HEAD_WORDS = {
    "three_relu": "three ReLU layers",
    "two_relu": "two ReLU layers",
    "one_relu": "one ReLU layer",
    "zero_relu": "a linear head",
    "none": "no head",
}
HEADS = tuple(HEAD_WORDS)


@dataclass(frozen=True)
class Group:
    """Cells of one configuration, one per seed, in order of the seed."""

    cells: tuple[CellRecord, ...]
    settings: dict[str, Any]

    @property
    def first(self) -> CellRecord:
        return self.cells[0]

    @property
    def head(self) -> str:
        return self.first.head

    @property
    def layer(self) -> str:
        return self.first.layer

    @property
    def probe(self) -> str:
        return str(self.first.get("cell.probe", "linear"))

    @property
    def data(self) -> str:
        """Which images were asked about; networks that were pretrained on others are compared on them as well."""
        return str(self.first.get("cell.transfer") or self.first.get("cell.data"))

    @property
    def label_fraction(self) -> float:
        return float(self.first.get("cell.label_fraction", 1.0))

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        return tuple(cell.seed for cell in self.cells)

    @property
    def digest(self) -> str:
        """Of the content of the images that were asked about."""
        return str(self.first.get("transfer.digest") or self.first.get("data.digest", ""))

    @property
    def part(self) -> str:
        """Which images were asked: ``test``, or ``validation``, training images that were kept out."""
        held_out = self.first.get("data.validation") and not self.first.get("cell.transfer")
        return "validation" if held_out else "test"

    @cached_property
    def networks(self) -> tuple[tuple[str, float], ...]:
        """Which networks its cells look at. One key in two roots may be two networks: their losses tell."""
        return tuple((cell.key or cell.name, cell.get("pretraining.loss", 0.0)) for cell in self.cells)

    @cached_property
    def threads(self) -> frozenset[int]:
        """With how many threads its networks were trained: another number makes another network."""
        found = (cell.get("pretraining.threads", cell.get("host.threads")) for cell in self.cells)
        return frozenset(each for each in found if isinstance(each, int))


@dataclass(frozen=True)
class Grid:
    """The groups of a root, and the axes along which they differ besides head, layer and seed."""

    groups: tuple[Group, ...]
    axes: tuple[str, ...]

    def setting(self, group: Group, without: str = "") -> tuple[tuple[str, str], ...]:
        """Where a group stands on every axis, but one that is to be left out."""
        return tuple((axis, shown(group.settings.get(axis))) for axis in self.axes if axis != without)


def group(cells: Sequence[CellRecord]) -> Grid:
    """Put cells that differ in nothing but the seed together.

    Of two cells with the same seed in a group (the same configuration under another name) the later one counts.
    """
    elsewhere = (Decides.NOTHING, Decides.IMAGES)
    unmeasured = {key for key, field, _ in settings(Config) if field.metadata["decides"] in elsewhere}
    together: dict[str, tuple[dict[str, Any], dict[int, CellRecord]]] = {}
    for cell in sorted(cells, key=lambda cell: str(cell.get("finished", ""))):
        identity = _identity(cell, unmeasured)
        digest = json.dumps(identity, sort_keys=True, default=str)
        together.setdefault(digest, (identity, {}))[1][cell.seed] = cell
    groups = [
        Group(tuple(cell for _, cell in sorted(by_seed.items())), identity) for identity, by_seed in together.values()
    ]
    axes = _axes([each.settings for each in groups])
    return Grid(tuple(sorted(groups, key=_place)), axes)


def layer_order(layer: str) -> tuple[int, str]:
    """Sorts layers as an image passes them: the encoder's stages, the encoder, the head; then what is not known.

    >>> sorted(["relu_2", "projection", "dense_2", "norm_1", "relu_1", "encoder", "stage_1"], key=layer_order)
    ['stage_1', 'encoder', 'norm_1', 'relu_1', 'dense_2', 'relu_2', 'projection']
    """
    kind, _, number = layer.partition("_")
    if layer.startswith("stage_"):
        place = -100 + int(number) if number.isdigit() else -1
    elif kind in KINDS and number.isdigit():
        place = len(KINDS) * int(number) + KINDS.index(kind)
    else:
        last = ("projection", "projection_norm")
        place = 0 if layer == "encoder" else 1000 + (last.index(layer) if layer in last else len(last))
    return (place, layer)


def head_order(head: str) -> tuple[int, str]:
    """Sorts heads from the deepest to none, and those that are not known after them."""
    return (HEADS.index(head) if head in HEADS else len(HEADS), head)


ORDERS: dict[str, Callable[[str], Any]] = {"head.name": head_order, "probe.layer": layer_order}
"""The axes that have their own place, each with the order of its values."""


def shown(value: Any) -> str:
    """A setting's value as it is typed."""
    if isinstance(value, list):
        return "[" + ",".join(shown(item) for item in value) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _place(each: Group) -> tuple[Any, ...]:
    return (shown(each.settings.get("data.name")), head_order(each.head), layer_order(each.layer), each.first.name)


def _identity(cell: CellRecord, unmeasured: set[str]) -> dict[str, Any]:
    """Everything that the cell's numbers depend on, but the seed; ``auto`` is what it stood for."""
    identity = {key: value for key, value in cell.settings.items() if key not in unmeasured and key != "seed"}
    if cell.get("cell.probe") != "finetune":
        identity = {key: value for key, value in identity.items() if key not in LABELLED_TRAINING}
    identity["data.name"] = cell.get("cell.data")
    identity["data.digest"] = cell.get("data.digest", "")
    identity["transfer.name"] = cell.get("cell.transfer") or ""
    identity["transfer.digest"] = cell.get("transfer.digest", "")
    # Of what pretraining alone sees: how much it is, and what.
    identity["data.unlabeled"] = cell.settings.get("data.unlabeled", 1.0) if cell.get("data.unlabeled") else 0.0
    identity["data.content"] = cell.get("data.content", identity["data.digest"])
    identity["pretrain.precision"] = cell.get("pretraining.precision", identity.get("pretrain.precision"))
    identity["head.name"] = cell.head
    identity["probe.layer"] = cell.layer
    return identity


def _axes(all_settings: list[dict[str, Any]]) -> tuple[str, ...]:
    """The settings that differ, without those that only follow from a named choice (``encoder.widths``)."""
    values: dict[str, list[str]] = {
        key: [shown(each.get(key)) for each in all_settings]
        for key in sorted({key for each in all_settings for key in each})
    }
    differ = {key: column for key, column in values.items() if len(set(column)) > 1 and key not in ORDERS}
    axes = []
    for key, column in differ.items():
        section = key.partition(".")[0]
        causes = [f"{section}.name", "data.name", "head.name", "augment.name", "encoder.name"]
        causes += ["data.digest", "data.unlabeled"] if key == "data.content" else []
        causes += ["transfer.digest"] if section == "transfer" else []
        if not any(cause != key and cause in values and _follows(column, values[cause]) for cause in causes):
            axes.append(key)
    return tuple(axes)


def _follows(column: list[str], cause: list[str]) -> bool:
    """Whether each value of the cause goes with one value of the column alone (and the cause is not constant)."""
    seen: dict[str, str] = {}
    return len(set(cause)) > 1 and all(
        seen.setdefault(cause_value, value) == value for cause_value, value in zip(cause, column, strict=True)
    )
