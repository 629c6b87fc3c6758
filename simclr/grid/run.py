"""A grid, from its points to its summary: plan it, start its jobs on a launcher, watch them, tell what came of them.

The files of a grid lie in ``<root>/grids/<id>/``: ``grid.json`` with every cell, ``job-<n>.json`` with the cells of a
job, and ``stop`` once somebody wants it to end. A job is a process of the launcher's that runs its cells one after
another; what it tells goes through the files that every cell writes, so that nothing depends on where it runs.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from simclr import data, experiment, store
from simclr.cell import fingerprint
from simclr.compose import Composer
from simclr.config import Config, resolve
from simclr.errors import InvalidInput, RunFailed, StoppedEarly, one_line
from simclr.files import write_whole
from simclr.grid.estimate import Estimate, estimate, measured
from simclr.grid.jobs import Job, jobs
from simclr.interruption import Pending, ask_to_stop, deferred
from simclr.plan import (
    STARTS,
    Abandoned,
    Facts,
    Making,
    Plan,
    Point,
    Published,
    Standing,
    finished_cells,
    identify,
    plan,
)
from simclr.store.explain import HERE, MAKING, UNFINISHED, state
from simclr.sweep.space import text_of

log = logging.getLogger(__name__)

STOP = "stop"
STOPPED_EARLY = "stopped early"

Launch = Callable[[list[list[str]]], Any]


@dataclass(frozen=True)
class TrialOf:
    """The trial of a search that a cell is: the sweep file with the overrides it was read with, and the number."""

    file: str
    overrides: tuple[str, ...]
    number: int


@dataclass(frozen=True)
class Grid:
    """A planned grid: its folder, its plan, and its jobs."""

    root: Path
    folder: Path
    plan: Plan
    jobs: tuple[Job, ...]


def prepare(points: Sequence[Sequence[str]], composer: Composer, root: str | Path, *, rerun: bool = False) -> Grid:
    """Plan a grid; takes no lock and writes nothing.

    Args:
        points: the overrides of each.
        composer: makes configurations of them.
        root: where results and pretrainings are looked for.
        rerun: measure cells again that are done.

    Raises:
        InvalidInput: an override is not valid, or the data cannot be used: nothing was started.
    """
    configs = list(composer.all(points))
    elsewhere = {config.root for config in configs} - {str(root)}
    if elsewhere:
        raise InvalidInput(f"root={','.join(sorted(elsewhere))}: a grid has one root; valid is root=DIR once")
    known = _Data()
    identified = identify(points, configs, known.digest, known.check)
    made = plan(identified, facts(root, identified), rerun)
    name = fingerprint({"cells": sorted({point.name for point in identified})})[:12]
    return Grid(Path(root), Path(root) / "grids" / name, made, tuple(jobs(made)))


def expected(grid: Grid, workers: int = 1, threads: int | None = None) -> Estimate:
    """What a grid will take on so many workers, as far as anything like it was ever measured below its root."""
    return estimate(grid.plan, measured(grid.root), workers, threads)


def facts(root: str | Path, points: Sequence[Point]) -> Facts:
    """What is there of a grid's cells and pretrainings."""
    there = {path.name for path in store.every(root)}
    keys = {point.cell.key for point in points if point.cell} & there
    standings = {key: standing for key in keys if (standing := _standing(root, key)) is not None}
    return Facts(finished_cells(root, points), standings)


def _standing(root: str | Path, key: str) -> Standing | None:
    found = state(root, key)
    if found.name == HERE:
        return Published()
    told = store.told_progress(store.place(root, key))
    who = f"process {told.get('pid')} on {told.get('host')}"
    if found.name == MAKING:
        return Making(who, told.get("epoch"))
    return Abandoned(int(told.get("epoch", 0)), who) if found.name == UNFINISHED else None


class _Data:
    """The catalogues and digests of a grid's data, each looked up once."""

    def __init__(self) -> None:
        self._catalogues: dict[tuple[Any, ...], data.Catalogue] = {}
        self._digests: dict[tuple[Any, ...], str] = {}

    def digest(self, config: Config) -> str:
        place = (config.data.name, config.data.root)
        if place not in self._digests:
            cache = experiment.cache_folder(config)
            self._digests[place] = data.digest(self._catalogue(config), cache, remember=False)
        return self._digests[place]

    def check(self, config: Config) -> None:
        experiment.check_cell(config, self._catalogue(config))

    def _catalogue(self, config: Config) -> data.Catalogue:
        place = (config.data.name, config.data.root)
        if place not in self._catalogues:
            self._catalogues[place] = data.catalogue(config.data, experiment.cache_folder(config))
        return self._catalogues[place]


def run(
    grid: Grid,
    launch: Launch,
    composer: Composer,
    *,
    fail_fast: bool = False,
    trials: Mapping[str, TrialOf] | None = None,
) -> None:
    """Run what is left of a grid and say what came of it.

    Args:
        grid: as :func:`prepare` planned it.
        launch: starts jobs, given the overrides of each, and returns when all have ended.
        composer: makes configurations of the pruned cells, which are recorded as skipped.
        fail_fast: start no further cell after one that failed.
        trials: of a search, by the name of the cell; it may stop one early.

    Raises:
        RunFailed: a cell failed; the others have run, unless ``fail_fast``.
        KeyboardInterrupt, SystemExit: asked to stop; cells that were running have saved what they had.
    """
    from simclr.grid.live import Watch

    grid.folder.mkdir(parents=True, exist_ok=True)
    (grid.folder / STOP).unlink(missing_ok=True)
    _write(grid, fail_fast, trials or {})
    for each in grid.plan.cells:
        if each.cell is None:
            experiment.skip(composer(each.overrides), each.reason)
    lost: Exception | None = None
    over = threading.Event()
    with deferred() as pending, Watch(grid) as watch:
        threading.Thread(target=_pass_on, args=(pending, grid.folder / STOP, over), daemon=True).start()
        try:
            if grid.jobs:
                launch(
                    [[*job[0].overrides, f"grid={text_of(str(_job_file(grid, n)))}"] for n, job in enumerate(grid.jobs)]
                )
        except Exception as error:  # a worker that was killed takes the launcher's call with it
            log.debug("the launcher ended early", exc_info=error)
            lost = error
        finally:
            over.set()
        failed = watch.conclude()
        if pending.signal is not None:
            pending.stop()
    if lost is not None:
        raise RunFailed(f"the launcher ended early: {one_line(lost)[:300]}; the same command goes on with what is left")
    if failed:
        raise RunFailed(f"{failed} of {len(grid.plan.cells)} cells failed; the same command runs them again")


def run_job(path: Path) -> None:
    """Run a job's cells one after another, in this process; a cell that fails is recorded and the next one runs.

    Args:
        path: the job's file.

    Raises:
        RunFailed: one of its cells failed, after the others have run.
    """
    job = json.loads(path.read_bytes())
    stop = path.with_name(STOP)
    if sys.stderr.isatty():  # where there is a live table, which lines from elsewhere would tear; the log file has them
        for handler in [each for each in logging.getLogger().handlers if type(each) is logging.StreamHandler]:
            logging.getLogger().removeHandler(handler)
    others = [path.with_name(name) for name in job["others"]]
    failed = 0
    with _stopping_when_asked(stop):
        for cell in job["cells"]:
            if stop.exists():
                return
            config = resolve(OmegaConf.create(cell["config"]))
            try:
                watch = _judge(TrialOf(**cell["trial"]), config) if cell["trial"] else None
                experiment.run(config, lambda: _another(others, stop), watch)
            except (InvalidInput, RunFailed) as error:
                failed += 1
                if isinstance(error, InvalidInput):
                    experiment.fail(config, error)
                if job["fail_fast"]:
                    stop.touch()
    if failed:
        raise RunFailed(f"{failed} of {len(job['cells'])} cells failed")


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


def _another(jobs_of_grid: list[Path], stop: Path) -> bool:
    """Make a pretraining of the same grid that nobody has begun, while this job's own is in other hands.

    Returns:
        Whether there was one.
    """
    for path in jobs_of_grid:
        if stop.exists():
            return False
        job = json.loads(path.read_bytes())
        config = resolve(OmegaConf.create(job["cells"][0]["config"]))
        if experiment.pretrain_if_unstarted(config):
            return True
    return False


def _write(grid: Grid, fail_fast: bool, trials: Mapping[str, TrialOf]) -> None:
    cells = [
        {"name": each.name, "state": each.state.value, "key": each.key, "overrides": list(each.overrides)}
        for each in grid.plan.cells
    ]
    write_whole(grid.folder / "grid.json", json.dumps({"cells": cells}).encode())
    names = [_job_file(grid, number).name for number, job in enumerate(grid.jobs) if job[0].state in STARTS]
    for number, job in enumerate(grid.jobs):
        own = _job_file(grid, number)
        described = [
            {
                "name": each.name,
                "config": asdict(each.cell.config),
                "trial": asdict(trials[each.name]) if each.name in trials else None,
            }
            for each in job
            if each.cell is not None
        ]
        content = {"cells": described, "others": [name for name in names if name != own.name], "fail_fast": fail_fast}
        write_whole(own, json.dumps(content).encode())


def _job_file(grid: Grid, number: int) -> Path:
    return (grid.folder / f"job-{number}.json").absolute()


def _pass_on(pending: Pending, stop: Path, over: threading.Event) -> None:
    """Tell the jobs, wherever they run, that this process was asked to stop."""
    while not over.wait(0.2):
        if pending.signal is not None:
            log.info("stopping: running cells save what they have; once more, and they are left as they are")
            with contextlib.suppress(OSError):
                stop.touch()
            return


@contextlib.contextmanager
def _stopping_when_asked(stop: Path) -> Iterator[None]:
    """Stop this process's cell when the grid is to end; elsewhere than in the main thread, between cells only."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            if stop.exists():
                ask_to_stop()
                return

    threading.Thread(target=watch, name="stop", daemon=True).start()
    try:
        yield
    finally:
        over.set()
