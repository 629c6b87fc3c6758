"""How the trials of a search stand, from its journal and its claims."""

from __future__ import annotations

from typing import NamedTuple

from simclr.foundation import work
from simclr.sweep.search import Search

STATES = {"COMPLETE": "finished", "FAIL": "failed", "PRUNED": "stopped", "RUNNING": "running"}


class Standing(NamedTuple):
    state: str
    value: float | None
    looks: list[float]


def standings(search: Search) -> list[Standing]:
    """Every trial, in order: finished, failed, stopped, running, or lost (nobody alive has its claim)."""
    found = []
    for each in search._study.get_trials(deepcopy=False):
        state = STATES[each.state.name]
        holder = work.holder(search.folder / f".trial-{each.number}")
        if state == "running" and (holder is None or not holder.alive):
            state = "lost"
        found.append(Standing(state, each.value, search._looks(each)))
    return found
