"""A plan's cells as jobs for a launcher: one after another in a job, the jobs side by side."""

from __future__ import annotations

from simclr.grid.plan import STARTS, Plan, Planned, State

CHUNK = 24
"""Cells of one pretraining in a job. A probe takes seconds: fewer would cost more in starting, many more would leave a
grid of one pretraining and hundreds of probes to a single worker."""

Job = tuple[Planned, ...]


def jobs(plan: Plan) -> list[Job]:
    """What is left of a plan, bundled: a pretraining and the probes of it are one job.

    So a probe follows on the worker that trained its network and has it at hand. The jobs are in the
    order in which workers should take them: first those that make a pretraining, so that none is unstarted when a
    second worker comes to one that is under way; then probes of networks that are there; then the rest of the probes
    of networks that this grid makes; last what others are making.
    """
    groups: dict[str, list[Planned]] = {}
    for each in plan.left:
        groups.setdefault(each.key, []).append(each)
    starting: list[Job] = []
    ready: list[Job] = []
    rest: list[Job] = []
    elsewhere: list[Job] = []
    for cells in groups.values():
        first, *more = (tuple(cells[begin : begin + CHUNK]) for begin in range(0, len(cells), CHUNK))
        if cells[0].state in STARTS:
            starting.append(first)
            rest += more
        elif any(each.state is State.WAITS_FOR for each in cells):
            elsewhere += [first, *more]
        else:
            ready += [first, *more]
    return starting + ready + rest + elsewhere
