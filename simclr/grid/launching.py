"""From Hydra to a grid and back: a grid's jobs, or a search's trials, on whichever launcher was chosen."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console

from simclr import machine, result
from simclr.command import without_hydra
from simclr.compose import Composer
from simclr.config import resolve
from simclr.errors import InvalidInput, RunFailed, one_line
from simclr.grid import run as grids
from simclr.grid.run import Grid, TrialOf
from simclr.grid.table import print_plan

log = logging.getLogger(__name__)


class Launcher:
    """Hydra's launcher with what belongs to it: where its jobs' configurations come from, how many run at a time."""

    def __init__(self, launcher: Any, config: DictConfig, loader: Any) -> None:
        self._launcher = launcher
        self.settings = resolve(without_hydra(config))

        def compose(overrides: list[str]) -> DictConfig:
            return without_hydra(loader.load_configuration("config", overrides, RunMode.RUN))

        self.composer = Composer(compose=compose)

    def share(self, jobs: int) -> tuple[int, int | None]:
        """Workers, and the threads of each, where they share this machine: as many workers as there is work for.

        A machine is neither idle nor oversubscribed when workers times threads are its processors.
        """
        options = getattr(self._launcher, "joblib", None)
        if options is None:
            return 1, None
        processors = machine.cpus()
        wanted = int(options["n_jobs"] or -1)
        workers = max(1, min(processors if wanted < 0 else wanted, jobs))
        return workers, max(1, processors // workers)

    def launch(self, jobs: Sequence[Sequence[str]]) -> None:
        """Start jobs, each by its overrides, and wait until all have ended."""
        workers, threads = self.share(len(jobs))
        if threads is not None:
            self._launcher.joblib["n_jobs"] = workers
        shared = [f"pretrain.threads={threads}"] if threads and self.settings.pretrain.threads is None else []
        self._launcher.launch([[*job, *shared] for job in jobs], initial_job_idx=0)


def sweep_points(points: Sequence[Sequence[str]], launcher: Launcher, *, dry_run: bool = False) -> None:
    """Plan a grid and, unless it is a dry run, run it.

    Args:
        points: the overrides of each.
        launcher: starts its jobs.
        dry_run: print the plan; nothing is written.

    Raises:
        InvalidInput: a point cannot be run; nothing was started.
        RunFailed: a cell failed, after the others have run.
    """
    settings = launcher.settings
    grid = grids.prepare(points, launcher.composer, settings.root, rerun=settings.rerun)
    if dry_run:
        workers, threads = launcher.share(len(grid.jobs))
        print_plan(grid.plan, grids.expected(grid, workers, threads))
        return
    try:
        grids.run(grid, launcher.launch, launcher.composer, fail_fast=settings.fail_fast)
    finally:
        _report(settings.root, renew=bool(grid.jobs))


def sweep_file(path: str, overrides: Sequence[str], launcher: Launcher, *, dry_run: bool = False) -> None:
    """Run a W&B sweep file: its grid, or its random or Bayesian search until ``run_cap`` is reached.

    Args:
        path: of the file.
        overrides: of the command line, which win over the file's.
        launcher: starts the jobs; of a search as many trials at a time as it has workers.
        dry_run: print what would be done; nothing is written.

    Raises:
        InvalidInput: the file or an override is not valid; nothing was started.
        RunFailed: a cell failed, after the others have run.
    """
    from simclr.sweep.file import read
    from simclr.sweep.space import points

    sweep = read(path, overrides)
    if sweep.method == "grid":
        sweep_points(list(points(sweep)), launcher, dry_run=dry_run)
        return
    if dry_run:
        cap = f"{sweep.run_cap} trials" if sweep.run_cap else "trials without end (run_cap=N bounds them)"
        print(f"{sweep.name}: {sweep.method} search, {cap}, over {', '.join(each.name for each in sweep.parameters)}")
        return
    _search(path, overrides, sweep, launcher)


def _search(path: str, overrides: Sequence[str], sweep: Any, launcher: Launcher) -> None:
    from simclr.sweep.search import Search

    settings = launcher.settings
    search = Search(sweep, settings.root, settings.seed)
    workers, _ = launcher.share(machine.cpus())
    failed = 0
    while True:
        trials = [trial for _ in range(workers) if (trial := search.ask()) is not None]
        if not trials:
            break
        try:
            for trial in trials:
                launcher.composer(trial.overrides)
            grid = grids.prepare([trial.overrides for trial in trials], launcher.composer, settings.root)
            told = {_name(grid, trial.overrides): TrialOf(path, tuple(overrides), trial.number) for trial in trials}
            grids.run(grid, launcher.launch, launcher.composer, fail_fast=settings.fail_fast, trials=told)
        except InvalidInput:
            for trial in trials:
                search.failed(trial.number)
            failed += len(trials)
            continue
        except RunFailed:
            failed += 1
        except BaseException:
            for trial in trials:
                search.given_back(trial.number)
            raise
        for trial in trials:
            _tell(search, settings.root, trial.number, _name(grid, trial.overrides))
    _report(settings.root)
    if failed:
        raise RunFailed(f"{failed} rounds of trials had one that failed")


def _report(root: str, *, renew: bool = True) -> None:
    """Write the report of all that is below ``root`` and print its answer; what is there already is only named."""
    page = Path(root) / "report" / "index.html"
    if renew or not page.exists():
        from simclr.report import write
        from simclr.report.__main__ import show

        try:
            written = write(root)
        except OSError as error:
            log.warning("the report cannot be written: %s", one_line(error))
            return
        if written.page is None:
            return
        show(written, Console(highlight=False))
    print(f"report {page}", flush=True)


def _name(grid: Grid, overrides: Sequence[str]) -> str:
    return next(each.name for each in grid.plan.cells for point in each.points if point.overrides == tuple(overrides))


def _tell(search: Any, root: str, number: int, name: str) -> None:
    """Pass a trial's record on to the search."""
    try:
        record = json.loads((result.folder(root, name) / "result.json").read_bytes())
    except (OSError, ValueError):
        search.failed(number)
        return
    if record["status"] == "finished":
        search.finished(number, record)
    elif str(record["error"]).startswith(grids.STOPPED_EARLY):
        search.stopped(number)
    else:
        search.failed(number)
