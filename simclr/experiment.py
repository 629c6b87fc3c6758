"""One cell, from its configuration to its record: pretrain, look at the layer asked for, compare.

Nothing here imports TensorFlow until a network is needed: a configuration is checked in the time it takes to read it.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from simclr import data, machine, result
from simclr.cell import (
    Cell,
    ImpossibleCell,
    describe,
    probed_layer,
    probes_centre,
    probes_mirror,
    skipped_name,
)
from simclr.config import Config, resolve
from simclr.errors import InvalidInput, RunFailed, one_line
from simclr.labels import labels_per_class

if TYPE_CHECKING:
    from simclr.data import Images
    from simclr.pretrain import Pretrained

log = logging.getLogger(__name__)


def run(config: DictConfig | Config) -> dict[str, Any]:
    """Run one cell and record it below ``config.root``.

    Args:
        config: as composed from ``conf/``, or the typed schema.

    Returns:
        The record, as in ``result.json``, with the path of that file as ``path``.

    Raises:
        InvalidInput: the configuration or the data cannot be run; nothing was recorded.
        RunFailed: the run failed and is recorded so.
    """
    config = resolve(config)
    clock = Clock()
    started = result.now()
    catalogue = data.catalogue(config.data, cache_folder(config))
    try:
        check(config, catalogue)
    except ImpossibleCell as reason:
        if config.on_invalid == "error":
            raise
        return _skip(config, catalogue, reason, started, clock)
    with clock("data"):
        images = data.load(config.data, cache_folder(config))
    cell = describe(config, images.digest)
    record = {
        **result.blank(config, asdict(cell.layer)),
        "name": cell.name,
        "started": started,
        "data": {
            "digest": images.digest,
            "train": len(images.train),
            "test": len(images.test),
            "ignored": images.ignored,
        },
    }
    try:
        measured, predictions = _measure(cell, images, clock)
        record = {**record, "status": "finished", **measured}
        return _write(cell.name, record, config, clock, predictions)
    except Exception as error:
        failure = _failure(error)
        record = {**record, "status": "failed", "error": one_line(failure)}
        try:
            failure.path = _write(cell.name, record, config, clock)["path"]
        except OSError as unwritable:
            log.warning("the failure could not be recorded: %s", unwritable)
        raise failure from error


def check(config: Config, catalogue: data.Catalogue | None = None) -> None:
    """Everything about a cell that can be known to be wrong without decoding an image or starting TensorFlow.

    Raises:
        ImpossibleCell: the head has no such layer, or the label fraction leaves a class without an example.
        InvalidInput: data missing or too few for a batch, or ``root`` not writable.
    """
    if catalogue is None:
        catalogue = data.catalogue(config.data, cache_folder(config))
    count = int(catalogue.train_counts.sum())
    if config.pretrain.batch_size > count:
        raise InvalidInput(
            f"pretrain.batch_size={config.pretrain.batch_size}: {config.data.name} has {count} training images; "
            f"valid is at most {count}"
        )
    probed_layer(config)
    labels_per_class(catalogue.train_counts, config.probe.label_fraction)
    _check_writable(Path(config.root))


def cache_folder(config: Config) -> Path:
    """Where verified downloads and decoded images lie."""
    return Path(config.root) / "data"


def _measure(cell: Cell, images: Images, clock: Clock) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pretrain, extract, probe: the parts of the record that are measured, and the class given to each test image."""
    from threadpoolctl import threadpool_limits

    from simclr.runtime import start_tensorflow

    config = cell.config
    with clock("start"):
        threads = start_tensorflow(config.pretrain.threads)
    with clock("pretraining"):
        pretrained = _pretrain(cell, images)
    with clock("features"):
        features = _features(cell, images, pretrained)
    with clock("probes"), threadpool_limits(threads):
        measured, predictions = _probe(cell, images, features)
    measured["pretraining"] = {
        "key": cell.key,
        "reused": False,
        "epochs": config.pretrain.epochs,
        "steps": pretrained.steps,
        "seconds": pretrained.seconds,
        "images_per_second": pretrained.images_per_second,
        "loss": pretrained.history[-1]["loss"],
        "contrastive_accuracy": pretrained.history[-1]["contrastive_accuracy"],
        "precision": pretrained.precision,
    }
    return {**measured, "host": machine.host(threads)}, predictions


def _pretrain(cell: Cell, images: Images) -> Pretrained:
    """Pretrain with everything that watches, and keep network and history in ``pretrained/<key>``."""
    from simclr import callbacks, progress, store
    from simclr.pretrain import pretrain

    config = cell.config
    settings = config.pretrain
    precision = machine.resolve_precision(settings.precision)
    log.info("pretraining %s: %s, %d epochs, in %s", cell.key, cell.name, settings.epochs, precision)
    steps = len(images.train.labels) // settings.batch_size
    with store.new(config.root, cell.key) as draft:
        bar = progress.progress_callback(settings.epochs, steps, settings.batch_size)
        watching = [
            callbacks.StopOnNonFiniteLoss(config.optimizer.learning_rate, settings.temperature, precision),
            callbacks.WarnOfCollapse(),
            callbacks.EpochFacts(steps * settings.batch_size),
        ]
        if settings.monitor_epochs:
            centre = probes_centre(config)
            watching.append(
                callbacks.NeighbourMonitor(images.train, settings.monitor_epochs, settings.epochs, centre, config.seed)
            )
        watching += [callbacks.HistoryFile(draft / "history.csv"), bar]
        try:
            pretrained = pretrain(config, images.train, precision, watching)
        finally:
            bar.close()
        store.save(draft, pretrained.network, config)
    return pretrained


def _features(cell: Cell, images: Images, pretrained: Pretrained) -> dict[str, Any]:
    """The probed layer's features of train and test, of the trained network and of the same before its first step.

    In float32 whatever the training's precision was, so that anyone who loads the weights has the same features.
    """
    from simclr import representation
    from simclr.network import build_network

    config, layer = cell.config, cell.layer.name
    side = max(int(size) for size, _ in config.pretrain.sizes)
    mirror, centre = probes_mirror(config), probes_centre(config)
    found: dict[str, Any] = {}
    for name, weights in (("trained", pretrained.network.get_weights()), ("untrained", None)):
        network = build_network(config.encoder, config.head, images.train.pixels.shape[-1], side, config.seed)
        if weights is not None:
            network.set_weights(weights)
            views = representation.view_pairs(
                network, [layer], images.test, config.augment, int(config.pretrain.sizes[-1][0]), config.seed
            )
            found["views"] = views[layer]
        found[name] = [
            representation.extract(network, [layer], split, config.probe.image_size, mirror, centre)[layer]
            for split in (images.train, images.test)
        ]
    return found


def _probe(cell: Cell, images: Images, features: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Probe the representation and its two baselines on the same label subsets, and describe it."""
    from simclr import representation
    from simclr.baseline import pixel_features
    from simclr.probe import LogisticRegression, WeightedNeighbours, build_probe, evaluate, label_subsets

    config = cell.config
    labels, test_labels = images.train.labels, images.test.labels
    subsets = label_subsets(config.probe, labels, config.seed)
    probe, on_pixels = build_probe(config.probe), LogisticRegression(tuple(config.probe.strengths))
    pixels = pixel_features(images.train), pixel_features(images.test)
    evaluations = {
        name: evaluate(classifier, (train, labels), (test, test_labels), subsets, config.seed)
        for name, classifier, (train, test) in (
            ("trained", probe, features["trained"]),
            ("untrained", probe, features["untrained"]),
            ("pixels", on_pixels, pixels),
        )
    }
    train, test = features["trained"]
    nearest = WeightedNeighbours((20,)).classify(train, labels, test, 20)
    measured = {
        "probe": {**evaluations["trained"].record, "classes": list(images.classes)},
        "baselines": {name: evaluations[name].record["test_accuracy"] for name in ("pixels", "untrained")},
        "representation": {
            "alignment": representation.alignment(*features["views"]),
            "uniformity": representation.uniformity(test),
            "effective_rank": representation.effective_rank(train),
            "knn_accuracy": float(np.mean(nearest == test_labels)),
        },
    }
    predictions = {name: each.predictions.astype(np.int16) for name, each in evaluations.items()}
    return measured, {**predictions, "labels": test_labels.astype(np.int16)}


def _skip(
    config: Config, catalogue: data.Catalogue, reason: ImpossibleCell, started: str, clock: Clock
) -> dict[str, Any]:
    """Record an impossible cell as skipped, with its reason."""
    digest = data.digest(catalogue, cache_folder(config))
    name = skipped_name(config, digest)
    try:
        layer = asdict(probed_layer(config))
    except ImpossibleCell:
        given = config.probe.layer
        layer = {"index": given if isinstance(given, int) else None, "name": str(given), "width": None}
    record = {**result.blank(config, layer), "status": "skipped", "error": one_line(reason), "started": started}
    log.info("skipped: %s", reason)
    return _write(name, {**record, "name": name}, config, clock)


def _write(
    name: str, record: dict[str, Any], config: Config, clock: Clock, arrays: dict[str, Any] | None = None
) -> dict[str, Any]:
    threads = config.pretrain.threads or machine.cpus()
    record = {
        **record,
        "seconds": clock.total(),
        "timing": clock.parts,
        "finished": result.now(),
        "versions": machine.versions(),
        "host": record.get("host") or machine.host(threads),
    }
    path = result.write(config.root, name, record, config, arrays)
    return {**record, "path": str(path)}


def _failure(error: Exception) -> RunFailed:
    """The error as a person needs it: what happened and what to try."""
    if isinstance(error, RunFailed):
        return error
    kind = type(error).__name__
    if isinstance(error, MemoryError) or kind == "ResourceExhaustedError":
        return RunFailed(f"out of memory: try a smaller pretrain.batch_size or image size ({one_line(error)[:200]})")
    if isinstance(error, OSError):
        return RunFailed(f"cannot write or read: {one_line(error)}")
    log.error("an unexpected error", exc_info=error)
    return RunFailed(f"{kind}: {one_line(error)[:500]}")


def _check_writable(root: Path) -> None:
    """Try it: permissions alone do not tell of a read-only or a full disk, nor of what root may do."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(dir=root, prefix=".writable.")
        os.close(descriptor)
        Path(path).unlink()
    except OSError as error:
        raise InvalidInput(
            f"root={root}: cannot be written to ({error.strerror}); valid is a folder of yours"
        ) from error


class Clock:
    """Where a cell's wall-clock seconds went."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self.parts: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count the time inside as ``part``."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.parts[part] = round(self.parts.get(part, 0.0) + time.perf_counter() - begun, 3)

    def total(self) -> float:
        """Seconds since the cell began."""
        return round(time.perf_counter() - self._begun, 3)
