"""``python -m simclr.sweep``: a W&B sweep file with no server at all, and the state of every cell."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import runpy
import sys
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from simclr.command.outcome import exit_code
from simclr.foundation.errors import InvalidInput

if TYPE_CHECKING:
    from simclr.config.compose import Composer
    from simclr.records.status import Status

RUN = Path(__file__).parents[2] / "run.py"


def main(arguments: list[str] | None = None) -> int:
    """Run ``status``, or else the sweep file that is named; exit codes: 0 finished, 1 a cell failed, 2 bad input."""
    return exit_code(lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _run(given: list[str]) -> int:
    if given[:1] == ["status"]:
        return _status(given[1:])
    if given and not given[0].startswith("-") and not Path(given[0]).suffix and get_close_matches(given[0], ["status"]):
        print(f'error: {given[0]}: there is no such command, and no such file. Did you mean "status"?', file=sys.stderr)
        return 2
    return _sweep(given or ["--help"])


def _sweep(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "python -m simclr.sweep",
        description="Run a W&B sweep file without a server; the same command again goes on with what is left.",
        epilog="python -m simclr.sweep status [--root DIR]: the state of every cell, at any time.",
    )
    parser.add_argument("file", metavar="FILE", help="a W&B sweep file, as sweeps/ablation.yaml")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and what it will take; write nothing")
    parser.add_argument(
        "overrides", nargs="*", help="as for run.py; they win over the file's: launch=local root=DIR .."
    )
    options = parser.parse_intermixed_args(arguments)
    from simclr.config import home
    from simclr.sweep.file import read
    from simclr.sweep.space import text_of

    overrides = home.quoted(options.overrides)
    sweep = read(options.file, overrides)
    varied = [text for text in overrides if text not in sweep.overrides and not text.startswith("run_cap=")]
    file = text_of(str(Path(options.file).absolute()))
    # Hydra's sweeper and launchers live in the program that run.py is: the sweep is a grid of that program's.
    sys.argv = [
        str(RUN),
        "-m",
        f"hydra.sweeper.file={file}",
        *sweep.overrides,
        *varied,
        *(["hydra.sweeper.dry_run=true"] if options.dry_run else []),
        *([f"hydra.sweeper.run_cap={sweep.run_cap}"] if sweep.run_cap else []),
    ]
    sys.path.insert(0, str(RUN.parent))
    try:
        runpy.run_path(str(RUN), run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _status(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "python -m simclr.sweep status", description="The state of every cell, from files."
    )
    parser.add_argument("--root", default="runs", type=os.path.expanduser, help="as given to the runs (%(default)s)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--watch", action="store_true", help="show it again and again, until nothing runs any more")
    how.add_argument("--json", action="store_true", help="for programs: a list of objects, a cell each")
    options = parser.parse_args(arguments)
    root = options.root
    from simclr.grid.table import print_status, watch_status
    from simclr.records.status import planned_cells, statuses

    def look() -> list[Status]:
        return list(statuses(root, planned_cells(root)).values())

    if options.json:
        print(json.dumps([{**asdict(each), "doing": each.doing.value} for each in look()], indent=1))
        return 0
    if options.watch:
        from simclr.config.compose import Composer

        composer = Composer()  # one for all looks: it remembers what it composed
        with contextlib.suppress(KeyboardInterrupt):
            watch_status(look, lambda workers: _seconds_left(root, workers, composer))
    print_status(root, look())
    from simclr.report import verdict

    for lines in verdict.read(root):
        print(*lines, sep="\n  ")
    return 0


def _seconds_left(root: str, workers: int, composer: Composer) -> float | None:
    """What the grids that are not over will still take, by what was measured; None where nothing like it was."""
    from simclr.grid.prepare import expected, prepare
    from simclr.records.status import queued
    from simclr.sweep.space import text_of

    points = [(*overrides, f"root={text_of(root)}") for _, _, overrides in queued(root)]
    try:
        return expected(prepare(points, composer, root), max(1, workers)).seconds if points else None
    except InvalidInput:  # what was typed then is not valid any more
        return None
