"""``python -m simclr.sweep``: a W&B sweep file with no server at all, and the state of every cell."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from pathlib import Path

from simclr.foundation.errors import InvalidInput, one_line

RUN = Path(__file__).parents[2] / "run.py"


def main(arguments: list[str] | None = None) -> int:
    """Run the subcommand ``status``, or else the sweep file that is named.

    Returns:
        The exit code: 0 finished, 1 a cell failed, 2 bad input.
    """
    given = sys.argv[1:] if arguments is None else arguments
    return _status(given[1:]) if given[:1] == ["status"] else _sweep(given)


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
    try:
        sweep = read(options.file, overrides)
    except InvalidInput as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
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
    root = parser.parse_args(arguments).root
    from simclr.grid.live import print_status
    from simclr.records.status import planned_cells, statuses

    print_status(root, list(statuses(root, planned_cells(root)).values()))
    return 0
