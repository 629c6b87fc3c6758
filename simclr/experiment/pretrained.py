"""The pretrained network of a cell and what it makes of every image: found in the store, or made and put there."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from simclr import store
from simclr.config.cell import Cell, pretraining_identity, probed_view
from simclr.config.validation import as_yaml
from simclr.experiment import seen
from simclr.experiment.seen import Others, nothing_else
from simclr.experiment.session import Session
from simclr.foundation import machine
from simclr.foundation.files import Damaged, make_folder, now, write_whole
from simclr.tracking.remote import InOtherHands
from simclr.training.crew import Beginning, Crew

if TYPE_CHECKING:
    from simclr.data import Images
    from simclr.training.checkpoint import Checkpoint

log = logging.getLogger(__name__)


def obtain(
    cell: Cell,
    images: Images,
    session: Session,
    meanwhile: Callable[[], bool] | None = None,
    *,
    asked: Images | None = None,
    others: Others = nothing_else,
    wait: bool = True,
) -> tuple[store.Pretraining, store.Features, bool] | None:
    """The cell's pretraining with what its network makes of the images, made here where no process has made it.

    Args:
        cell: whose.
        images: the data that it is made from.
        session: is told how far it is.
        meanwhile: called while another process is at it, see :func:`.once.made_once`.
        asked: the data that features are wanted of, where these are others.
        others: of the grid, whose layers are computed along with the cell's.
        wait: for another process that is at it.

    Returns:
        The pretraining, the features, and whether the weights were there already; None where another process is at it
        and ``wait`` is False.
    """
    root = cell.config.root
    made_here = False
    crew = Crew(cell.config.pretrain)

    def find() -> tuple[store.Pretraining, store.Features] | None:
        try:
            pretraining = store.find(root, cell.key)
            found = seen.find(cell, pretraining) if pretraining else None
        except Damaged:
            return None
        return (pretraining, found) if pretraining and found else None

    def make(claim: store.Claim) -> tuple[store.Pretraining, store.Features]:
        nonlocal made_here
        make_folder(store.folder(root, cell.key))
        store.clear(root, cell.key, session.report)
        if remote is not None and store.find(root, cell.key) is None:
            remote.take_up(cell.key, store.folder(root, cell.key), meanwhile, session.report, wait=wait)
        threads = session.start(cell.config.pretrain)
        pretraining = store.find(root, cell.key)
        if pretraining is None:
            try:
                with session("pretraining"):
                    pretraining = _pretrain(cell, images, threads, claim, session, crew)
            except Exception:
                if remote is not None:
                    remote.give_up(cell.key)
                raise
            made_here = True
        return pretraining, seen.of_trained(cell, asked or images, pretraining, session, others)

    remote = session.remote
    place = store.place(root, cell.key)
    try:
        found = store.made_once(place, find, make, session.report, meanwhile, session.heed, wait=wait)
    except InOtherHands:
        return None
    except Exception:
        crew.dismiss()
        raise
    crew.dismiss()
    if found is None:
        return None
    session.show_pretraining(found[0], made_here)
    if not made_here:
        store.tidy(place)
        log.info("reusing pretraining %s%s", cell.key, store.made_with_other_versions(found[0]))
    return *found, not made_here


def take_part(cell: Cell, images: Images) -> bool:
    """Train along with the chief of a pretraining by several processes; whether there was something to do.

    Raises:
        RunFailed: for the reason for which the chief's training fails as well.
    """
    config, settings = cell.config, cell.config.pretrain
    Session().start(settings)
    word = Crew(settings).hear(cell.key)
    if word is None:
        return False

    from simclr.training import callbacks
    from simclr.training.loss import chance
    from simclr.training.pretrain import pretrain
    from simclr.training.resume import Saving

    precision = machine.resolve_precision(settings.precision)
    before = word.start.history if word.start else ()
    watching = [
        callbacks.StopOnNonFiniteLoss(config.optimizer.learning_rate, settings.temperature, precision),
        callbacks.StopOnCollapse(settings.collapse_epochs, chance(config.loss, settings.batch_size), before),
    ]
    log.info("pretraining %s: %s, along with its chief", cell.key, cell.name)
    pretrain(config.recipe, images.pretraining, precision, watching, Saving(word.start))
    return True


def _pretrain(
    cell: Cell, images: Images, threads: int, claim: store.Claim, session: Session, crew: Crew
) -> store.Pretraining:
    """Pretrain with everything that watches, from where an earlier attempt was stopped, and keep what came of it."""
    from simclr.evaluation.monitor import NeighbourMonitor
    from simclr.model.network import variables_by_name
    from simclr.training import callbacks, progress
    from simclr.training.loss import chance
    from simclr.training.pretrain import pretrain
    from simclr.training.resume import Saving
    from simclr.training.stages import stages

    config = cell.config
    settings = config.pretrain
    precision = machine.resolve_precision(settings.precision)
    place = store.folder(config.root, cell.key)
    start = store.checkpoint(place, session.report)
    steps = len(images.pretraining) // settings.batch_size
    log.info("pretraining %s: %s, %d epochs, in %s", cell.key, cell.name, settings.epochs, precision)
    if start is not None:
        log.info("going on from epoch %.4g, where it was stopped", start.step / steps)
    before = start.history if start else ()
    began = now()

    def tell(**facts: Any) -> None:
        claim.tell(cell=cell.name, **facts)
        session.tell(**facts)

    def save(state: Checkpoint) -> None:
        state.save(place / store.CHECKPOINT)
        tell(epoch=len(state.history), epochs=settings.epochs)  # the last word, if it stops here
        log.debug("saved at step %d", state.step)

    keep_history = partial(callbacks.write_history, place / store.HISTORY)
    if before:  # there may be no further epoch
        keep_history(before)
    pace = progress.Pace(list(stages(settings)), steps, settings.batch_size)
    bar = progress.progress_callback(pace)
    watching = [
        callbacks.stop_where_lost(claim),
        pace,
        callbacks.StopOnNonFiniteLoss(config.optimizer.learning_rate, settings.temperature, precision),
        callbacks.StopOnCollapse(settings.collapse_epochs, chance(config.loss, settings.batch_size), before),
        callbacks.EpochFacts(settings.batch_size),
    ]
    if settings.monitor_epochs and images.classes:
        centre = probed_view(config.probe, config.augment).centre
        watching.append(NeighbourMonitor(images.train, settings.monitor_epochs, settings.epochs, centre, config.seed))
    watching += [
        progress.TellProgress(tell, pace),
        callbacks.ShowHistory([keep_history, *session.watchers], before),
        bar,
    ]
    write_whole(place / store.CONFIG, as_yaml(config).encode())
    saving = Saving(start, save, settings.checkpoint_epochs, settings.checkpoint_minutes)
    crew.begin(Beginning(cell.key, start))
    try:
        pretrained = pretrain(config.recipe, images.pretraining, precision, watching, saving)
    finally:
        bar.close()
    images.check()
    return store.publish(
        place,
        variables_by_name(pretrained.network),
        {
            "name": cell.name,
            "identity": pretraining_identity(config, images.digest),
            "epochs": settings.epochs,
            "steps": pretrained.steps,
            "seconds": pretrained.seconds,
            "compiling": round(pretrained.compiling, 3),
            "images_per_second": pretrained.images_per_second,
            "loss": pretrained.history[-1]["loss"],
            "contrastive_accuracy": pretrained.history[-1]["contrastive_accuracy"],
            "precision": precision,
            "channels": images.pretraining.channels,
            "began": began,
            "finished": now(),
            "versions": machine.versions(),
            "host": {"name": platform.node(), **machine.host(threads), "replicas": pretrained.replicas},
        },
    )
