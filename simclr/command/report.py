"""``python -m simclr.report [--root DIR]``: the answer on the terminal, everything else in ``DIR/report``.

Exit codes: 0 written; 1 it cannot be; 2 no finished cell to report on.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from rich.console import Console

from simclr.report.words import NOTHING_YET, UNPROBED
from simclr.report.write import show, write

MOST_NAMED = 10


def main(arguments: list[str] | None = None) -> int:
    """Write the report and print its answer; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m simclr.report", description="The answer: table, plots, page.")
    parser.add_argument("--root", default="runs", type=Path, help="where the runs were written (default: runs)")
    root = parser.parse_args(arguments).root.expanduser()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        report = write(root)
    except OSError as error:
        print(f"error: root={root}: the report cannot be written ({error.strerror})", file=sys.stderr)
        return 1
    left_out = report.findings.left_out
    for left in left_out[:MOST_NAMED]:
        print(f"{left.state}: {left.name}: {left.reason}", file=sys.stderr)
    if len(left_out) > MOST_NAMED:
        print(f"and {len(left_out) - MOST_NAMED} more; the page names them all", file=sys.stderr)
    if report.page is None:
        unprobed = any(left.state == "unprobed" for left in left_out)
        print(f"error: {(UNPROBED if unprobed else NOTHING_YET).format(root=root)}", file=sys.stderr)
        return 2
    show(report, Console(highlight=False))
    print(f"report {report.page}", flush=True)
    return 0
