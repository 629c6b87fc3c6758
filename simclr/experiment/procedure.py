"""One cell, from its configuration to its record: pretrain, look at the layer asked for, compare.

Nothing here imports TensorFlow until a network is needed: a configuration is checked in the time it takes to read it.
"""

from __future__ import annotations

import errno
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig
from threadpoolctl import threadpool_limits

from simclr import data, store, tracking
from simclr.config import Config
from simclr.config.cell import (
    Cell,
    ImpossibleCell,
    describe,
    probed_layer,
    skipped_name,
)
from simclr.config.validation import resolve
from simclr.data.labels import labels_per_class
from simclr.experiment import agents, pretrained
from simclr.experiment.session import Session
from simclr.foundation import machine
from simclr.foundation.errors import InvalidInput, RunFailed, StoppedEarly, one_line
from simclr.foundation.files import now
from simclr.foundation.presence import Presence
from simclr.records import result
from simclr.records.status import PROGRESS
from simclr.store.explain import HERE, MAKING, state
from simclr.tracking import Material, agent
from simclr.training.cluster import check_strategy, cluster

if TYPE_CHECKING:
    from simclr.data import Images
    from simclr.tracking import Tracker

log = logging.getLogger(__name__)


def run(
    config: DictConfig | Config,
    meanwhile: Callable[[], bool] | None = None,
    watch: Callable[[Sequence[dict[str, float]]], None] | None = None,
) -> dict[str, Any]:
    """Run one cell and record it below ``config.root``.

    Args:
        config: as composed from ``conf/``, or the typed schema.
        meanwhile: called while another process is at the cell's pretraining: does something else that is useful and
            returns True, or returns False where there is nothing.
        watch: shown the pretraining's history so far at the end of each of its epochs; may raise ``StoppedEarly``.

    Returns:
        The record, as in ``result.json``, with the path of that file as ``path``. Of several processes that share a
        pretraining only the chief has one; the others' ``status`` is ``assisted``, and their ``path`` None.

    Raises:
        InvalidInput: the configuration or the data cannot be run; nothing was recorded.
        RunFailed: the run failed and is recorded so.
    """
    config = resolve(config)
    if not cluster(config.pretrain.strategy).chief:
        return _assist(config)
    session = Session()
    session.watchers += [watch] if watch else []
    started = now()
    catalogue = data.catalogue(config.data, cache_folder(config))
    try:
        check(config, catalogue)
    except ImpossibleCell as reason:
        if config.on_invalid == "error":
            raise
        # A sweep shows why it has no number; elsewhere the record says so.
        return skip(config, reason, track=agent.sweep(os.environ) is not None)
    with session("data"):
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
            "validation": config.data.validation,
        },
    }
    try:
        place = result.folder(config.root, cell.name) / PROGRESS
        with Presence(place, pretraining=cell.key, data=cell.digest) as presence:
            session.presence = presence
            session.track(cell, images)
            record = _run(cell, images, session, record, meanwhile)
    except BaseException as error:
        session.end(error.__cause__ if isinstance(error, RunFailed) and error.__cause__ else error)
        raise
    session.end()
    return record


def _run(
    cell: Cell,
    images: Images,
    session: Session,
    record: dict[str, Any],
    meanwhile: Callable[[], bool] | None,
) -> dict[str, Any]:
    """Measure a cell and record what came of it, be it a failure."""
    config = cell.config
    try:
        if meanwhile is None and session.tracker is not None and session.tracker.in_agent:
            meanwhile = agents.another_pretraining(session.tracker, config, pretrain_if_unstarted)
        measured, predictions, material = _measure(cell, images, session, meanwhile)
        record = {**record, "status": "finished", **measured}
        written = _write(cell.name, record, config, session, predictions)
    except StoppedEarly as reason:
        log.info("%s", reason)
        if session.tracker is not None:
            session.tracker.summary({"status": "skipped", "error": one_line(reason)})
        return _write(cell.name, {**record, "status": "skipped", "error": one_line(reason)}, config, session)
    except InvalidInput:  # the devices, which only TensorFlow knows, cannot share the batch: nothing was begun
        raise
    except Exception as error:
        failure = _failure(error)
        record = {**record, "status": "failed", "error": one_line(failure)}
        try:
            failure.path = _write(cell.name, record, config, session)["path"]
        except OSError as unwritable:
            log.warning("the failure could not be recorded: %s", unwritable)
        raise failure from error
    if session.tracker is not None:
        with threadpool_limits(1):
            session.tracker.result(written, predictions, material)
    return written


def _assist(config: Config) -> dict[str, Any]:
    """Train along with the chief of a pretraining by several processes: what comes of it is the chief's to record."""
    assisted = {"status": "assisted", "path": None}
    try:
        check(config)
    except ImpossibleCell:
        if config.on_invalid == "error":
            raise
        return assisted
    images = data.load(config.data, cache_folder(config))
    cell = describe(config, images.digest)
    try:
        worked = pretrained.take_part(cell, images)
    except Exception as error:
        raise _failure(error) from error
    log.info("%s: the chief goes on alone", "trained" if worked else "the network is there already")
    return {**result.blank(config, asdict(cell.layer)), "name": cell.name, **assisted}


def check(config: Config, catalogue: data.Catalogue | None = None) -> None:
    """Everything about a cell that can be known to be wrong without decoding an image or starting TensorFlow.

    Raises:
        ImpossibleCell: the head has no such layer, or the label fraction leaves a class without an example.
        InvalidInput: data missing or too few for a batch, a batch that the devices cannot share, or ``root`` not
            writable.
    """
    catalogue = catalogue or data.catalogue(config.data, cache_folder(config))
    count = int(catalogue.train_counts.sum())
    if config.pretrain.batch_size > count:
        raise InvalidInput(
            f"pretrain.batch_size={config.pretrain.batch_size}: {config.data.name} has {count} training images; "
            f"valid is at most {count}"
        )
    check_strategy(config)
    check_cell(config, catalogue)
    _check_writable(Path(config.root))


def check_cell(config: Config, catalogue: data.Catalogue) -> None:
    """Whether there is such a cell at all.

    Raises:
        ImpossibleCell: the head has no such layer, or the label fraction leaves a class without an example.
    """
    probed_layer(config)
    labels_per_class(catalogue.train_counts, config.probe.label_fraction)


def cache_folder(config: Config) -> Path:
    """Where verified downloads and decoded images lie."""
    return Path(config.root) / "data"


def _measure(
    cell: Cell, images: Images, session: Session, meanwhile: Callable[[], bool] | None
) -> tuple[dict[str, Any], dict[str, Any], Material]:
    """Pretrain or reuse, then probe.

    Returns:
        The measured parts of the record, the class given to each test image, and what pictures are made of.
    """
    from simclr.evaluation.measurement import measure

    threads = cell.config.pretrain.threads or machine.cpus()
    found = pretrained.obtain(cell, images, session, meanwhile)
    assert found is not None  # it waits
    pretraining, features, reused = found
    material = Material(
        store.history(pretraining.folder),
        features.of("trained", cell.layer.name)[1],
        images.test.labels,
        images.classes,
        features.example_views() / np.float32(255),
        images.test.paths,
    )
    if session.tracker is not None:
        session.tracker.draw(material)
    measured, predictions = measure(cell, images, pretraining, features, session, session.report)
    facts = ("epochs", "steps", "seconds", "images_per_second", "loss", "contrastive_accuracy", "precision")
    kept = {name: pretraining.manifest[name] for name in facts}
    kept["compiling"] = pretraining.manifest.get("compiling")  # of a network made earlier it is not known
    measured["pretraining"] = {"key": cell.key, "reused": reused, **kept}
    host = {**machine.host(threads), "replicas": pretraining.manifest["host"].get("replicas", 1)}
    return {**measured, "host": host}, predictions, material


def skip(config: Config, reason: ImpossibleCell | str, *, track: bool = False) -> dict[str, Any]:
    """Record an impossible cell as skipped, with its reason; with ``track``, in W&B as well."""
    log.info("skipped: %s", reason)
    digest = _digest(config)
    try:
        layer = asdict(probed_layer(config))
    except ImpossibleCell:
        given = config.probe.layer
        layer = {"index": given if isinstance(given, int) else None, "name": str(given), "width": None}
    name = skipped_name(config, digest)
    if track:
        tracking.skip(config, name, one_line(str(reason)))
    return _record_unmeasured(config, layer, name, "skipped", str(reason))


def fail(config: Config, reason: InvalidInput) -> dict[str, Any]:
    """Record a cell of a grid that could not even be started."""
    cell = describe(config, _digest(config))
    return _record_unmeasured(config, asdict(cell.layer), cell.name, "failed", str(reason))


def pretrain_if_unstarted(config: Config, tracker: Tracker | None = None) -> bool:
    """Make the pretraining of a cell, unless it is there or in other hands.

    Args:
        config: of the cell.
        tracker: of the run that has time for it, which then says so.

    Returns:
        Whether it was made.
    """
    images = data.load(config.data, cache_folder(config))
    cell = describe(config, images.digest)
    if state(config.root, cell.key).name in (HERE, MAKING):
        return False
    session = Session()
    if tracker is not None:
        session.borrow(tracker, config)
    return pretrained.obtain(cell, images, session, wait=False) is not None


def _digest(config: Config) -> str:
    return data.digest(data.catalogue(config.data, cache_folder(config)), cache_folder(config))


def _record_unmeasured(config: Config, layer: dict[str, Any], name: str, status: str, reason: str) -> dict[str, Any]:
    record = {**result.blank(config, layer), "name": name, "status": status, "error": " ".join(reason.split())}
    return _write(name, {**record, "started": now()}, config, Session())


def _write(
    name: str, record: dict[str, Any], config: Config, session: Session, arrays: dict[str, Any] | None = None
) -> dict[str, Any]:
    threads = config.pretrain.threads or machine.cpus()
    record = {
        **record,
        "seconds": session.seconds,
        "timing": session.parts,
        "finished": now(),
        "log": next((each.baseFilename for each in _handlers() if isinstance(each, logging.FileHandler)), None),
        "versions": machine.versions(),
        "host": record.get("host") or machine.host(threads),
    }
    path = result.write(config.root, name, record, config, arrays)
    return {**record, "path": str(path)}


def _handlers() -> list[logging.Handler]:
    return logging.getLogger().handlers


def _failure(error: Exception) -> RunFailed:
    """The error as a person needs it: what happened and what to try."""
    if isinstance(error, RunFailed):
        return error
    kind = type(error).__name__
    if isinstance(error, MemoryError) or kind == "ResourceExhaustedError":
        return RunFailed(f"out of memory: try a smaller pretrain.batch_size or image size ({one_line(error)[:200]})")
    if kind == "UnavailableError":  # of TensorFlow, where a process that takes part was killed or its machine is gone
        return RunFailed("another worker of this pretraining has gone; the same command goes on from what was saved")
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
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunFailed(f"root={root}: cannot be written to ({error.strerror})") from error
        raise InvalidInput(
            f"root={root}: cannot be written to ({error.strerror}); valid is a folder of yours"
        ) from error
