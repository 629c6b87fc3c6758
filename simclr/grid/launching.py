"""From Hydra to a grid and back: a grid's jobs, or a search's trials, on whichever launcher was chosen."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from simclr.config.cell import say_what_is_idle
from simclr.foundation import machine
from simclr.foundation.errors import InvalidInput, RunFailed, one_line
from simclr.grid.job import STOPPED_EARLY, TrialOf
from simclr.grid.launcher import Launcher
from simclr.grid.plan import record_of
from simclr.grid.prepare import expected, prepare
from simclr.grid.run import run
from simclr.grid.table import print_plan

log = logging.getLogger(__name__)


def sweep_points(points: Sequence[Sequence[str]], launcher: Launcher, *, dry_run: bool = False) -> None:
    """Plan a grid, given the overrides of each point, and run it; a dry run prints the plan and writes nothing.

    Raises:
        InvalidInput: a point cannot be run; nothing was started.
        RunFailed: a cell failed, after the others have run.
    """
    settings = launcher.settings
    if launcher.elsewhere and settings.pretrain.precision == "auto":
        log.info(
            "pretrain.precision=auto is %s on this machine, and so for all workers; mixed_bfloat16 suits most GPUs",
            machine.resolve_precision("auto"),
        )
    if settings.seeds is not None:
        from simclr.grid.rounds import run_rounds

        failed = run_rounds(points, launcher, dry_run=dry_run)
        if not dry_run:
            _report(settings.root)
        if failed is not None:
            raise failed
        return
    grid = prepare(points, launcher.composer, settings.root, rerun=settings.rerun)
    workers, threads = launcher.share(len(grid.jobs))
    say_what_is_idle(grid.typed)
    if dry_run:
        print_plan(grid.plan, expected(grid, workers, threads))
        return
    failed = None
    try:
        run(grid, launcher, threads)
    except RunFailed as error:
        failed = error
    _report(settings.root, renew=bool(grid.jobs))
    if failed is not None:
        raise failed


def sweep_file(path: str, overrides: Sequence[str], launcher: Launcher, *, dry_run: bool = False) -> None:
    """Run a W&B sweep file: its grid, or its random or Bayesian search until ``run_cap`` is reached.

    Of a search as many trials run at a time as the launcher has places. A dry run prints what would be done.

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
    if launcher.settings.seeds is not None:
        raise InvalidInput(
            f"seeds={launcher.settings.seeds}: a {sweep.method} search has no cells to compare; grid has"
        )
    if dry_run:
        cap = f"{sweep.run_cap} trials" if sweep.run_cap else "trials without end (run_cap=N bounds them)"
        print(f"{sweep.name}: {sweep.method} search, {cap}, over {', '.join(each.name for each in sweep.parameters)}")
        return
    _search(path, overrides, sweep, launcher)


def _search(path: str, overrides: Sequence[str], sweep: Any, launcher: Launcher) -> None:
    from simclr.sweep.search import Search

    search = Search(sweep, launcher.settings.root, launcher.settings.seed)
    workers = launcher.places()
    _, threads = launcher.share(workers)
    failed = 0
    while asked := [trial for _ in range(workers) if (trial := search.ask()) is not None]:
        try:
            failed += _round(TrialOf(path, tuple(overrides), -1), search, asked, launcher, threads)
        except BaseException:
            for trial in asked:
                search.given_back(trial.number)
            raise
        if failed and launcher.settings.fail_fast:
            break
    _report(launcher.settings.root)
    if failed:
        raise RunFailed(f"{failed} trials failed")


def _round(sweep: TrialOf, search: Any, asked: Sequence[Any], launcher: Launcher, threads: int | None) -> int:
    """Run trials side by side and tell the search what came of them; how many failed."""
    trials, failed = [], 0
    for trial in asked:
        try:
            launcher.composer(trial.overrides)
            trials.append(trial)
        except InvalidInput as error:
            log.warning("trial %d cannot be run: %s", trial.number, error)
            search.failed(trial.number)
            failed += 1
    root = launcher.settings.root
    grid = prepare([trial.overrides for trial in trials], launcher.composer, root)
    names = {point.overrides: each.name for each in grid.plan.cells for point in each.points}
    try:
        run(grid, launcher, threads, {names[each.overrides]: replace(sweep, number=each.number) for each in trials})
    except RunFailed as error:  # what came of each trial is in its record, and none is a reason to end the search
        log.warning("%s", error)
    return failed + sum(_tell(search, root, each.number, names[each.overrides]) for each in trials)


def _report(root: str, *, renew: bool = True) -> None:
    """Write the report of all that is below ``root`` and print its answer; what is there already is only named."""
    page = Path(root) / "report" / "index.html"
    if renew or not page.exists():
        from simclr.report.write import show, write

        try:
            written = write(root)
        except OSError as error:
            log.warning("the report cannot be written: %s", one_line(error))
            return
        if written.page is None:
            return
        show(written, Console(highlight=False))
    print(f"report {page}", flush=True)


def _tell(search: Any, root: str, number: int, name: str) -> bool:
    """Pass a trial's record on to the search; whether it failed. One without a record was lost, and is tried again."""
    record = record_of(root, name)
    if not record:
        search.lost(number)
        return False
    if record["status"] == "finished":
        search.finished(number, record)
    elif str(record["error"]).startswith(STOPPED_EARLY):
        search.stopped(number)
    else:
        search.failed(number)
    return record["status"] == "failed"
