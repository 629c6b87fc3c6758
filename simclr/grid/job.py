"""A job of a grid: a process of the launcher's that runs its cells one after another, and ends when the grid does."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from simclr import experiment
from simclr.config import Config
from simclr.config.validation import resolve
from simclr.foundation.errors import InvalidInput, RunFailed, StoppedEarly, one_line
from simclr.foundation.interruption import ask_to_stop, at_once, exit_when_asked
from simclr.foundation.work import at_work
from simclr.records import result

log = logging.getLogger(__name__)

STOP = "stop"
"""Beside a grid's jobs once it is to end: running cells save and stop."""

FAILED = "failed"
"""There once a cell failed of a grid that is to end then: running cells finish, no further one starts."""

STOPPED_EARLY = "stopped early"


class OutOfSight(RunFailed):
    """A worker does not see the files of its grid, so that it can neither read its job nor keep what it makes."""


@dataclass(frozen=True)
class TrialOf:
    """The trial of a search that a cell is: the sweep file with the overrides it was read with, and the number."""

    file: str
    overrides: tuple[str, ...]
    number: int


def run_job(path: Path) -> None:
    """Run a job's cells one after another, in this process; a cell that fails is recorded and the next one runs.

    Args:
        path: the job's file. Where it is gone its grid is over, and there is nothing to do.

    Raises:
        OutOfSight: this machine does not see the grid's folder.
        RunFailed: one of its cells failed, after the others have run.
        KeyboardInterrupt, SystemExit: this process, and not the grid, was asked to stop: it is to be run again.
    """
    try:
        job = json.loads(path.read_bytes())
    except FileNotFoundError:
        grid = path.parents[1]
        if not (grid / "grid.json").exists():
            raise OutOfSight(
                f"the worker on {platform.node()} does not see {grid}: root must be a folder that all workers share"
            ) from None
        log.info("%s is gone: its grid has ended", path)
        return
    if sys.stderr.isatty():  # where there is a live table, which lines from elsewhere would tear; the log file has them
        for handler in [each for each in logging.getLogger().handlers if type(each) is logging.StreamHandler]:
            logging.getLogger().removeHandler(handler)
    stop = path.with_name(STOP)
    if job["by"] == [platform.node(), os.getpid()]:  # the grid's own process, which signals reach
        with at_once():
            _run_cells(path, job)
        return  # which says itself that it is at work there
    os.chdir(job["folder"])  # paths are meant from there; a cluster's workers start wherever the cluster was started
    try:
        with at_work(path.parent), _stopping_with_the_grid(stop):
            _run_cells(path, job)
    except (KeyboardInterrupt, SystemExit):
        if not _is_told_soon(stop):
            raise
        log.info("stopped with its grid")


def _is_told_soon(stop: Path, seconds: float = 5.0) -> bool:
    """Whether the grid is to end, of which its own process tells a moment after the signal that reached them all.

    A launcher takes an interrupted job for its own end, and kills the others before they have saved what they have.
    """
    end = time.monotonic() + seconds
    while not stop.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _run_cells(path: Path, job: dict[str, Any]) -> None:
    failed = 0
    for cell in job["cells"]:
        if path.with_name(STOP).exists() or path.with_name(FAILED).exists():
            break
        config = _config(cell, job)
        if _is_over(path, config, cell["name"]):
            continue
        try:
            watch = _judge(TrialOf(**cell["trial"]), config) if cell["trial"] else None
            experiment.run(config, lambda: _another(path, job), watch, partial(_configs, job))
        except (InvalidInput, RunFailed) as error:
            failed += 1
            if isinstance(error, InvalidInput):
                experiment.fail(config, error)
            if job["fail_fast"]:
                path.with_name(FAILED).touch()
    if failed:
        raise RunFailed(f"{failed} of {len(job['cells'])} cells failed")


def _config(cell: dict[str, Any], job: dict[str, Any]) -> Config:
    config = resolve(OmegaConf.create(cell["config"]))
    if config.pretrain.threads is None and job["threads"] is not None:
        config = replace(config, pretrain=replace(config.pretrain, threads=job["threads"]))
    return config


def _configs(job: dict[str, Any]) -> list[Config]:
    return [_config(cell, job) for cell in job["cells"]]


def _is_over(path: Path, config: Config, name: str) -> bool:
    """Whether there is a record since the job was written, as it is when a scheduler starts a job again."""
    try:
        return (result.folder(config.root, name) / "result.json").stat().st_mtime > path.stat().st_mtime
    except OSError:
        return False


def _judge(trial: TrialOf, config: Config) -> Callable[[Sequence[dict[str, float]]], None]:
    """What watches a trial's pretraining and ends it where its search says so."""
    from simclr.sweep.file import read
    from simclr.sweep.search import MONITOR, Search

    search = Search(read(trial.file, trial.overrides), config.root, config.seed)

    def watch(history: Sequence[dict[str, float]]) -> None:
        looks = [row[MONITOR] for row in history if math.isfinite(row.get(MONITOR, math.nan))]
        new = math.isfinite(history[-1].get(MONITOR, math.nan))
        if new and search.report(trial.number, looks):
            raise StoppedEarly(f"{STOPPED_EARLY} by hyperband: {MONITOR} {looks[-1]:.3f} at epoch {len(history)}")

    return watch


def _another(path: Path, job: dict[str, Any]) -> bool:
    """Make a pretraining of the same grid that nobody has begun, while this job's own is in other hands.

    One that cannot be made is left to the job whose it is, which says so.

    Returns:
        Whether there was one.
    """
    count, own = job["starts"], job["number"]
    for number in (*range(own + 1, count), *range(min(own, count))):
        if path.with_name(STOP).exists() or path.with_name(FAILED).exists():
            return False
        try:
            other = json.loads(path.with_name(f"job-{number}.json").read_bytes())
            if experiment.pretrain_if_unstarted(_config(other["cells"][0], other), others=partial(_configs, other)):
                return True
        except Exception as error:
            log.info("job %d's pretraining cannot be made here: %s", number, one_line(error))
    return False


@contextlib.contextmanager
def _stopping_with_the_grid(stop: Path) -> Iterator[None]:
    """Stop this process's cell when the grid is to end.

    Ctrl-C on a terminal reaches every process of a grid; the grid's own one passes it on, so that here it means nothing
    outside of a pretraining, and does not end a worker that others share.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            if stop.exists():
                ask_to_stop()
                return

    if threading.current_thread() is threading.main_thread():  # elsewhere it ends between cells only
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        exit_when_asked(anew=False)
        threading.Thread(target=watch, name="stop", daemon=True).start()
    try:
        yield
    finally:
        over.set()
