"""A cell's record, whatever came of it."""

from __future__ import annotations

import logging
from typing import Any

from simclr import tracking
from simclr.config import Config
from simclr.config.cell import ImpossibleCell, configured, coordinates, describe, skipped_name
from simclr.config.validation import as_yaml
from simclr.experiment.checks import digests
from simclr.experiment.session import Session
from simclr.foundation import machine
from simclr.foundation.errors import InvalidInput, RunFailed, one_line
from simclr.foundation.files import now
from simclr.records import result
from simclr.records.result import Arrays

log = logging.getLogger(__name__)


def skip(config: Config, reason: ImpossibleCell | str, *, track: bool = False) -> dict[str, Any]:
    """Record an impossible cell as skipped, with its reason; with ``track``, in W&B as well."""
    log.info("skipped: %s", reason)
    name = skipped_name(config, *digests(config))
    if track:
        tracking.skip(config.tracking, config.root, {**configured(config), "cell": name}, one_line(str(reason)))
    return _record_unmeasured(config, name, "skipped", str(reason))


def fail(config: Config, reason: InvalidInput) -> dict[str, Any]:
    """Record a cell of a grid that could not even be started."""
    name = describe(config, *digests(config)).name
    return _record_unmeasured(config, name, "failed", str(reason))


def _record_unmeasured(config: Config, name: str, status: str, reason: str) -> dict[str, Any]:
    error = " ".join(reason.split())
    record = {**result.blank(coordinates(config)), "name": name, "status": status, "error": error}
    return write(name, {**record, "started": now()}, config, Session())


def write(
    name: str, record: dict[str, Any], config: Config, session: Session, arrays: Arrays | None = None
) -> dict[str, Any]:
    threads, handlers = config.pretrain.threads or machine.cpus(), logging.getLogger().handlers
    record = {
        **record,
        "seconds": session.seconds,
        "timing": session.parts,
        "finished": now(),
        "log": next((each.baseFilename for each in handlers if isinstance(each, logging.FileHandler)), None),
        "versions": machine.versions(),
        "host": record.get("host") or machine.host(threads),
    }
    path = result.write(config.root, name, record, as_yaml(config), arrays)
    return {**record, "path": str(path)}


def failed_by(error: Exception) -> RunFailed:
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
