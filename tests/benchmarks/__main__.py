"""``python -m tests.benchmarks [name ...]``: measure, on a quiet machine, and print ratios; nothing is asserted."""

from __future__ import annotations

import sys

from rich.console import Console

from simclr.foundation import machine
from tests.benchmarks import (
    cost,
    curve,
    evaluation,
    gpu,
    grid,
    memory,
    monitor,
    precision,
    programs,
    rates,
    report,
    reuse,
    seeds,
    shares,
    start,
    step,
    stream,
)

# Memory first: a child's peak counts what its parent held when it was forked.
BENCHMARKS = {
    "memory": memory.measure,
    "start": start.measure,
    "step": step.measure,
    "programs": programs.measure,
    "shares": shares.measure,
    "monitor": monitor.measure,
    "stream": stream.measure,
    "reuse": reuse.measure,
    "grid": grid.measure,
    "report": report.measure,
    "evaluation": evaluation.measure,
    "cost": cost.measure,
    "precision": precision.measure,
    "curve": curve.measure,
    "rates": rates.measure,
    "seeds": seeds.measure,
    "gpu": gpu.measure,
}


def main(names: list[str]) -> None:
    """Run the benchmarks named, or all, and print each one's figures."""
    console = Console(soft_wrap=True, highlight=False)
    versions = machine.versions()
    console.print(f"{machine.host(machine.cpus())}, {versions}", markup=False)
    for name in names or BENCHMARKS:
        console.rule(name)
        for what, figure in BENCHMARKS[name]():  # each as it comes: one that is stopped has said what it knew
            console.print(f"{what}: {figure}", markup=False)


if __name__ == "__main__":
    main(sys.argv[1:])
