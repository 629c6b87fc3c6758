"""One cell, from its configuration to its record: pretrain, look at the layer asked for, compare.

Nothing here imports TensorFlow until a network is needed: a configuration is checked in the time it takes to read it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig
from threadpoolctl import threadpool_limits

from simclr import data, store
from simclr.config import Config, TransferConfig
from simclr.config.cell import Cell, ImpossibleCell, coordinates, describe
from simclr.config.validation import resolve
from simclr.experiment import agents, pretrained, seen
from simclr.experiment.checks import about_transfer, cache_folder, check
from simclr.experiment.recording import failed_by, skip, write
from simclr.experiment.seen import Others, nothing_else
from simclr.experiment.session import Session
from simclr.foundation import machine
from simclr.foundation.errors import InvalidInput, RunFailed, StoppedEarly, one_line
from simclr.foundation.files import now
from simclr.foundation.work import at_work
from simclr.records import result
from simclr.records.result import PREDICTIONS, Arrays
from simclr.store.explain import Stage, availability
from simclr.tracking import Material, agent
from simclr.training.cluster import cluster

if TYPE_CHECKING:
    from simclr.data import Images
    from simclr.tracking import Tracker

log = logging.getLogger(__name__)


def run(
    config: DictConfig | Config,
    meanwhile: Callable[[], bool] | None = None,
    watch: Callable[[Sequence[dict[str, float]]], None] | None = None,
    others: Others = nothing_else,
    listed: tuple[data.Catalogue, data.Catalogue] | None = None,
) -> dict[str, Any]:
    """Run one cell and record it below ``config.root``.

    Args:
        config: as composed from ``conf/``, or the typed schema.
        meanwhile: called while another process is at the cell's pretraining: does something else that is useful and
            returns True, or returns False where there is nothing.
        watch: shown the pretraining's history so far at the end of each of its epochs; may raise ``StoppedEarly``.
        others: the cells of the grid that it is part of: layers that they ask for come out of the same pass.
        listed: what :func:`.checks.check` returned, where it was asked just now.

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
    try:
        found, found_asked = listed or check(config)
    except ImpossibleCell as reason:
        if config.on_invalid == "error":
            raise
        # A sweep shows why it has no number; elsewhere the record says so.
        return skip(config, reason, track=agent.sweep(os.environ) is not None)
    with session("data"):
        images = data.load(config.data, cache_folder(config), found=found)
        asked = None
        if config.transfer.name is not None:
            with about_transfer():
                asked = data.load(config.asked, cache_folder(config), found=found_asked)
    cell = describe(config, images.digest, asked.digest if asked else None)
    record = {
        **result.blank(coordinates(config)),
        "name": cell.name,
        "started": started,
        "data": {**_account(images), "validation": config.data.validation},
        "transfer": {**_account(asked), "test_also_pretrained_on": asked.seen_by(images)} if asked else None,
    }
    if asked and (known := record["transfer"]["test_also_pretrained_on"]):
        warning = "%d of the %d test images are pretrained on as well: accuracies say more than is true"
        log.info(warning, known, len(asked.test))
    try:
        used = {part: record[part]["digest"] for part in ("data", "transfer") if record[part]}
        with at_work(result.folder(config.root, cell.name), pretraining=cell.key, **used) as word:
            session.word = word
            session.track(cell, images)
            record = _run(cell, images, asked or images, session, record, meanwhile, others)
    except BaseException as error:
        session.end(error.__cause__ if isinstance(error, RunFailed) and error.__cause__ else error)
        raise
    session.end()
    return record


def _account(images: Images) -> dict[str, Any]:
    """What a record says of a set of images."""
    return {
        "digest": images.content.labelled,
        "content": images.digest,
        "train": len(images.train),
        "unlabeled": len(images.unlabeled),
        "test": len(images.test),
        "classes": images.counts,
        "test_also_in_train": images.test_also_in_train,
        "ignored": images.ignored,
        "revision": images.revision,
    }


def _run(
    cell: Cell,
    images: Images,
    asked: Images,
    session: Session,
    record: dict[str, Any],
    meanwhile: Callable[[], bool] | None,
    others: Others,
) -> dict[str, Any]:
    """Measure a cell and record what came of it, be it a failure."""
    config = cell.config
    try:
        if meanwhile is None and session.tracker is not None and session.tracker.in_agent:
            others = cache(partial(agents.cells, session.tracker, config))
            meanwhile = agents.another_pretraining(session.tracker, config, others, pretrain_if_unstarted)
        measured, arrays, material = _measure(cell, images, asked, session, meanwhile, others)
        record = {**record, "status": "finished", **measured}
        written = write(cell.name, record, config, session, arrays)
    except StoppedEarly as reason:
        log.info("%s", reason)
        if session.tracker is not None:
            session.tracker.summary({"status": "skipped", "error": one_line(reason)})
        return write(cell.name, {**record, "status": "skipped", "error": one_line(reason)}, config, session)
    except InvalidInput:  # the devices, which only TensorFlow knows, cannot share the batch: nothing was begun
        raise
    except Exception as error:
        failure = failed_by(error)
        record = {**record, "status": "failed", "error": one_line(failure)}
        try:
            failure.path = write(cell.name, record, config, session)["path"]
        except OSError as unwritable:
            log.warning("the failure could not be recorded: %s", unwritable)
        raise failure from error
    if session.tracker is not None:
        with threadpool_limits(1):
            session.tracker.result(written, arrays.get(PREDICTIONS), material)
    return written


def _assist(config: Config) -> dict[str, Any]:
    """Train along with the chief of a pretraining by several processes: what comes of it is the chief's to record."""
    assisted = {"status": "assisted", "path": None}
    try:
        found, _ = check(config)
    except ImpossibleCell:
        if config.on_invalid == "error":
            raise
        return assisted
    images = data.load(config.data, cache_folder(config), found=found)
    cell = describe(config, images.digest)
    try:
        worked = pretrained.take_part(cell, images)
    except Exception as error:
        raise failed_by(error) from error
    log.info("%s: the chief goes on alone", "trained" if worked else "the network is there already")
    return {**result.blank(coordinates(config)), "name": cell.name, **assisted}


def _measure(
    cell: Cell,
    images: Images,
    asked: Images,
    session: Session,
    meanwhile: Callable[[], bool] | None,
    others: Others,
) -> tuple[dict[str, Any], Arrays, Material]:
    """Pretrain on the images or reuse, then probe on those that are asked about.

    Returns:
        The measured parts of the record, what is kept beside it, and what pictures are made of.
    """
    from simclr.evaluation.measurement import measure

    threads = cell.config.pretrain.threads or machine.cpus()
    found = pretrained.obtain(cell, images, session, meanwhile, asked=asked, others=others)
    assert found is not None  # it waits
    pretraining, trained, reused = found
    _, described = asked.described
    material = Material(
        store.history(pretraining.folder),
        trained.test,
        described.labels,
        asked.classes,
        trained.example_views / np.float32(255),
        described.paths,
    )
    untrained = partial(seen.of_untrained, cell, asked, pretraining, session, others)
    measured, arrays = measure(cell, asked, pretraining, trained, untrained, session, session.report)
    facts = ("epochs", "steps", "seconds", "images_per_second", "loss", "contrastive_accuracy", "precision")
    kept, trained_on = {name: pretraining.manifest[name] for name in facts}, pretraining.manifest["host"]
    kept["compiling"] = pretraining.manifest.get("compiling")  # of a network made earlier it is not known
    measured["pretraining"] = {"key": cell.key, "reused": reused, **kept, "threads": trained_on.get("threads")}
    host = {**machine.host(threads), "replicas": trained_on.get("replicas", 1)}
    return {**measured, "host": host}, arrays, material


def pretrain_if_unstarted(config: Config, tracker: Tracker | None = None, others: Others = nothing_else) -> bool:
    """Make the pretraining of a cell, unless it is there or in other hands.

    Args:
        config: of the cell.
        tracker: of the run that has time for it, which then says so.
        others: the cells of the grid that it is part of.

    Returns:
        Whether it was made.
    """
    images = data.load(config.data, cache_folder(config))
    cell = describe(replace(config, transfer=TransferConfig()), images.digest)
    if availability(config.root, cell.key).stage in (Stage.THERE, Stage.MAKING):
        return False
    session = Session()
    if tracker is not None:
        session.borrow(tracker, config)
    return pretrained.obtain(cell, images, session, others=others, wait=False) is not None
