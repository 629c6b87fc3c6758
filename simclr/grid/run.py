"""A grid, from its plan to its summary: start its jobs on a launcher, watch them, tell what came of them.

The files of a grid lie in ``<root>/grids/<id>/``: ``grid.json`` with every cell, and for each time that it is run a
folder with ``job-<n>.json``, the cells of a job, and ``stop`` once it is to end. A job is a process of the launcher's
that runs its cells one after another, see :mod:`simclr.grid.job`; what it tells goes through the files that every cell
writes, so that nothing depends on where it runs.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from simclr import experiment
from simclr.foundation.errors import RunFailed, one_line
from simclr.foundation.files import make_folder, write_whole
from simclr.foundation.interruption import Pending, deferred
from simclr.foundation.work import at_work, words
from simclr.grid.job import STOP, OutOfSight, TrialOf
from simclr.grid.launcher import Launcher
from simclr.grid.plan import STARTS, record_of
from simclr.grid.prepare import Grid
from simclr.sweep.space import text_of

log = logging.getLogger(__name__)


def run(grid: Grid, launcher: Launcher, threads: int | None, trials: Mapping[str, TrialOf] | None = None) -> None:
    """Run what is left of a grid and say what came of it.

    Args:
        grid: as :func:`simclr.grid.prepare.prepare` planned it.
        launcher: starts the jobs, and makes configurations of the pruned cells, which are recorded as skipped.
        threads: TensorFlow's in each job, where its cells do not say.
        trials: of a search, by the name of the cell; it may stop one early.

    Raises:
        RunFailed: a cell failed; the others have run, unless the launcher's settings say ``fail_fast``.
        KeyboardInterrupt, SystemExit: asked to stop; cells that were running have saved what they had.
    """
    from simclr.grid.table import Watch

    files = grid.folder / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{os.getpid()}"
    _write(grid, files, threads, launcher.settings.fail_fast, trials or {})
    for each in grid.plan.cells:
        if each.cell is None:
            record = record_of(grid.root, each.name)
            if (record.get("status"), record.get("error")) != ("skipped", each.reason):
                experiment.skip(launcher.composer(each.overrides), each.reason)
    lost: Exception | None = None
    errors: list[Exception] = []
    over = threading.Event()
    with at_work(files) if grid.jobs else contextlib.nullcontext(), deferred() as pending, Watch(grid) as watch:
        threading.Thread(target=_pass_on, args=(pending, files / STOP, over), daemon=True).start()
        try:
            if grid.jobs:
                # Of each job Hydra has to know where its log goes, whatever folder the launcher starts it in.
                place = f"root={text_of(str(grid.root.absolute()))}"
                files_of = [f"grid={text_of(str(_job(files, number)))}" for number in range(len(grid.jobs))]
                jobs = [[*job[0].overrides, place, file] for job, file in zip(grid.jobs, files_of, strict=True)]
                errors = launcher.launch(jobs)
        except Exception as error:  # a worker that was killed takes the launcher's call with it
            log.debug("the launcher ended early", exc_info=error)
            lost = error
        except BaseException:
            watch.conclude(interrupted=True)
            raise
        finally:
            over.set()
        failed, left = watch.conclude(interrupted=pending.signal is not None)
        if lost is None:
            shutil.rmtree(files, ignore_errors=True)  # every job has ended
        if pending.signal is not None:
            pending.stop()
    if lost is not None:
        raise RunFailed(f"the launcher ended early: {one_line(lost)[:300]}; the same command goes on with what is left")
    if failed or left:
        said = [f"{failed} of {len(grid.plan.cells)} cells failed"] if failed else []
        said += [f"{left} {'was' if left == 1 else 'were'} not finished"] if left else []
        said += dict.fromkeys(one_line(error) for error in errors if isinstance(error, OutOfSight))
        raise RunFailed(f"{', '.join(said)}; the same command runs them again")


def _write(grid: Grid, files: Path, threads: int | None, fail_fast: bool, trials: Mapping[str, TrialOf]) -> None:
    cells = [
        {"name": each.name, "state": each.state.value, "key": each.key, "overrides": list(each.overrides)}
        for each in grid.plan.cells
    ]
    make_folder(grid.folder)
    write_whole(grid.folder / "grid.json", json.dumps({"cells": cells}).encode())
    for left in grid.folder.glob("*/"):  # of this grid's earlier runs those whose processes are all dead
        if not any(each.alive for each in words(left)):
            shutil.rmtree(left, ignore_errors=True)
    if not grid.jobs:
        return
    make_folder(files)
    shared = {
        "starts": 0 if trials else sum(job[0].state in STARTS for job in grid.jobs),
        "threads": threads,
        "fail_fast": fail_fast,
        "by": [platform.node(), os.getpid()],
        "folder": str(Path.cwd()),
    }
    for number, job in enumerate(grid.jobs):
        described = [
            {
                "name": each.name,
                "config": asdict(each.cell.config),
                "trial": asdict(trials[each.name]) if each.name in trials else None,
            }
            for each in job
            if each.cell is not None
        ]
        write_whole(_job(files, number), json.dumps({"number": number, "cells": described, **shared}).encode())


def _job(files: Path, number: int) -> Path:
    return (files / f"job-{number}.json").absolute()


def _pass_on(pending: Pending, stop: Path, over: threading.Event) -> None:
    """Tell the jobs, wherever they run, that this process was asked to stop."""
    while not over.wait(0.2):
        if pending.signal is not None:
            log.info("stopping: running cells save what they have; once more, and they are left as they are")
            with contextlib.suppress(OSError):
                stop.touch()
            return
