"""One cell, from its configuration to its record: pretrain, look at the layer asked for, compare.

Nothing here imports TensorFlow until a network is needed: a configuration is checked in the time it takes to read it.
"""

from __future__ import annotations

import logging
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from simclr import data, machine, result, store
from simclr.cell import (
    Cell,
    ImpossibleCell,
    describe,
    head_layers,
    pretraining_identity,
    probed_layer,
    probed_view,
    probes_centre,
    skipped_name,
    stage_layers,
)
from simclr.config import Config, resolve
from simclr.errors import InvalidInput, RunFailed, one_line
from simclr.files import Damaged, now, write_whole
from simclr.labels import labels_per_class

if TYPE_CHECKING:
    from simclr.checkpoint import Checkpoint
    from simclr.data import Images

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
    started = now()
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
    """Pretrain or reuse, then probe: the measured parts of the record, and the class given to each test image."""
    from threadpoolctl import threadpool_limits

    threads = cell.config.pretrain.threads or machine.cpus()
    pretraining, features, reused = _obtain(cell, images, clock)
    with clock("probes"), threadpool_limits(1):  # small problems, on which two threads lose more than they win
        measured, predictions = _probe(cell, images, features)
    facts = ("epochs", "steps", "seconds", "images_per_second", "loss", "contrastive_accuracy", "precision")
    kept = {name: pretraining.manifest[name] for name in facts}
    measured["pretraining"] = {"key": cell.key, "reused": reused, **kept}
    return {**measured, "host": machine.host(threads)}, predictions


def _obtain(cell: Cell, images: Images, clock: Clock) -> tuple[store.Pretraining, store.Features, bool]:
    """The cell's pretraining with what its network makes of every image, made here where no process has made it.

    Returns:
        The pretraining, the features, and whether the weights were there already.
    """
    root, view = cell.config.root, probed_view(cell.config)
    made_here = False

    def find() -> tuple[store.Pretraining, store.Features] | None:
        try:
            pretraining = store.find(root, cell.key)
            features = pretraining.features(view) if pretraining else None
        except Damaged:
            return None
        return (pretraining, features) if pretraining and features else None

    def make(claim: store.Claim) -> tuple[store.Pretraining, store.Features]:
        nonlocal made_here
        from simclr.runtime import start_tensorflow

        store.clear(root, cell.key, view, log.info)
        with clock("start"):
            threads = start_tensorflow(cell.config.pretrain.threads)
        pretraining = store.find(root, cell.key)
        if pretraining is None:
            made_here = True
            with clock("pretraining"):
                pretraining = _pretrain(cell, images, threads, claim)
        with clock("features"):
            return pretraining, _features(cell, images, pretraining, claim)

    found = store.obtain(store.place(root, cell.key), find, make, log.info)
    if not made_here:
        log.info("reusing pretraining %s%s", cell.key, store.made_with_other_versions(found[0]))
    return *found, not made_here


def _pretrain(cell: Cell, images: Images, threads: int, claim: store.Claim) -> store.Pretraining:
    """Pretrain with everything that watches, from where an earlier attempt was stopped, and keep what came of it."""
    from simclr import callbacks, progress
    from simclr.network import variables_by_name
    from simclr.pretrain import pretrain
    from simclr.resume import Saving

    config = cell.config
    settings = config.pretrain
    precision = machine.resolve_precision(settings.precision)
    place = store.folder(config.root, cell.key)
    start = store.checkpoint(place, log.info)
    steps = len(images.train.labels) // settings.batch_size
    log.info("pretraining %s: %s, %d epochs, in %s", cell.key, cell.name, settings.epochs, precision)
    if start is not None:
        log.info("going on from epoch %.4g, where it was stopped", start.step / steps)
    began = now()

    def save(state: Checkpoint) -> None:
        claim.check()
        state.save(place / store.CHECKPOINT)
        log.debug("saved at step %d", state.step)

    bar = progress.progress_callback(settings.epochs, steps, settings.batch_size)
    watching = [
        callbacks.StopOnNonFiniteLoss(config.optimizer.learning_rate, settings.temperature, precision),
        callbacks.WarnOfCollapse(),
        callbacks.EpochFacts(settings.batch_size),
    ]
    if settings.monitor_epochs:
        centre = probes_centre(config)
        watching.append(
            callbacks.NeighbourMonitor(images.train, settings.monitor_epochs, settings.epochs, centre, config.seed)
        )
    watching += [
        callbacks.HistoryFile(place / store.HISTORY, start.history if start else ()),
        callbacks.TellProgress(claim.tell, settings.epochs),
        bar,
    ]
    write_whole(place / store.CONFIG, OmegaConf.to_yaml(OmegaConf.structured(config)).encode())
    saving = Saving(start, save, settings.checkpoint_epochs, settings.checkpoint_minutes)
    try:
        pretrained = pretrain(config, images.train, precision, watching, saving)
    finally:
        bar.close()
    claim.check()
    return store.publish(
        place,
        variables_by_name(pretrained.network),
        {
            "name": cell.name,
            "identity": pretraining_identity(config, images.digest),
            "epochs": settings.epochs,
            "steps": pretrained.steps,
            "seconds": pretrained.seconds,
            "images_per_second": pretrained.images_per_second,
            "loss": pretrained.history[-1]["loss"],
            "contrastive_accuracy": pretrained.history[-1]["contrastive_accuracy"],
            "precision": precision,
            "channels": int(images.train.pixels.shape[-1]),
            "began": began,
            "finished": now(),
            "versions": machine.versions(),
            "host": {"name": platform.node(), **machine.host(threads)},
        },
    )


def _features(cell: Cell, images: Images, pretraining: store.Pretraining, claim: store.Claim) -> store.Features:
    """What the trained network, and the same before its first step, make of every image, at every layer and stage.

    In float32 whatever the training's precision was, so that anyone who loads the weights has the same features.
    """
    from simclr import features
    from simclr.network import build_network
    from simclr.representation import alignment

    config, view = cell.config, probed_view(cell.config)
    layers = [layer.name for layer in (*head_layers(config), *stage_layers(config))]
    trained = store.network(pretraining)
    untrained = build_network(
        config.encoder, config.head, images.train.pixels.shape[-1], config.pretrain.side, config.seed
    )
    networks = {
        name: {
            f"{part}/{layer}": found
            for part, split in (("train", images.train), ("test", images.test))
            for layer, found in features.extract(network, layers, split, view).items()
        }
        for name, network in (("trained", trained), ("untrained", untrained))
    }
    size = int(config.pretrain.sizes[-1][0])
    pairs = features.view_pairs(trained, layers, images.test, config.augment, size, config.seed)
    claim.check()
    return store.publish_features(
        pretraining,
        view,
        networks,
        {
            "view": asdict(view),
            "alignment": {layer: alignment(*pair) for layer, pair in pairs.items()},
            "versions": machine.versions(),
        },
    )


def _probe(cell: Cell, images: Images, features: store.Features) -> tuple[dict[str, Any], dict[str, Any]]:
    """Probe the representation and its two baselines on the same label subsets, and describe it."""
    from simclr import representation
    from simclr.baseline import pixel_baseline
    from simclr.probe import WeightedNeighbours, build_probe, evaluate, label_subsets

    config = cell.config
    if config.probe.name == "documents":
        from simclr.runtime import start_tensorflow

        start_tensorflow(config.pretrain.threads)
    labels, test_labels = images.train.labels, images.test.labels
    subsets = label_subsets(config.probe, labels, config.seed)
    probe = build_probe(config.probe)
    seen = {name: features.of(name, cell.layer.name) for name in ("trained", "untrained")}
    evaluations = {
        name: evaluate(probe, (train, labels), (test, test_labels), subsets, config.seed)
        for name, (train, test) in seen.items()
    }
    evaluations["pixels"] = pixel_baseline(config, images, subsets, log.info)
    train, test = seen["trained"]
    nearest = WeightedNeighbours((20,)).classify(train, labels, test, 20)
    measured = {
        "probe": {**evaluations["trained"].record, "classes": list(images.classes)},
        "baselines": {name: evaluations[name].record["test_accuracy"] for name in ("pixels", "untrained")},
        "representation": {
            "alignment": features.alignment(cell.layer.name),
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
        "finished": now(),
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
