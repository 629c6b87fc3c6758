"""``answer.json``: everything that a report says, for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from simclr.report import verdict
from simclr.report.groups import group
from simclr.report.records import read
from simclr.report.standing import Interval, Panel, Standing, Statement
from simclr.report.statistics import panels

SCHEMA = 1


@threadpool_limits.wrap(limits=1)  # matrices are small here: threads cost more than they save
def answer(root: str | Path) -> dict[str, Any]:
    """What the results below a root say, as ``answer.json`` has it; writes and draws nothing.

    Args:
        root: as given to the runs.

    Returns:
        ``schema`` 1 and ``panels``, a set of cells each that answered the same questions: what they were asked about
        (``data``, ``digest``, ``part`` test or validation, ``label_fraction``), the ``seeds`` that they are compared
        over, ``standings`` (``cells``, one per seed; ``accuracy`` with ``mean`` and ``ci95``; ``best``, the probability
        of being the best, and ``ranks``, first and last, both None where that cannot be said) and ``statements``
        (``kind`` networks, layers, untrained or pixels; ``cells`` of both sides, or of the one that is compared with
        that baseline; ``difference`` with ``ci95`` and ``p`` by itself, ``p_adjusted`` over a ``family`` of so many
        comparisons, and whether it is ``claimed``), ``prospects`` (with one seed: by a number of seeds, the difference
        between networks that they would just tell from noise), and ``asked``: what grids with ``seeds=auto`` were asked
        and have answered, a list of sentences each.
    """
    return as_dictionary(panels(group(read(root).cells).groups), verdict.read(root))


def as_dictionary(compared: Sequence[Panel], asked: Sequence[list[str]]) -> dict[str, Any]:
    """The answer of panels, and of inquiries, that are known already."""
    return {"schema": SCHEMA, "panels": [_panel(each) for each in compared], "asked": list(asked)}


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "data": panel.first.data,
        "digest": panel.first.digest,
        "part": panel.first.part,
        "label_fraction": panel.first.label_fraction,
        "seeds": list(panel.seeds),
        "standings": [_standing(each) for each in panel.standings],
        "statements": [_statement(each) for each in panel.statements()],
        "prospects": {str(seeds): difference for seeds, difference in panel.prospects.items()},
    }


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "cells": [cell.name for cell in standing.group.cells],
        "accuracy": {"mean": standing.accuracy.mean, "ci95": _bounds(standing.accuracy)},
        "best": standing.best,
        "ranks": None if standing.ranks is None else list(standing.ranks),
    }


def _statement(statement: Statement) -> dict[str, Any]:
    names = [[cell.name for cell in side.cells if cell.seed in statement.seeds] for side in statement.sides]
    return {
        "kind": statement.kind,
        "cells": names,
        "difference": statement.mean,
        "ci95": _bounds(statement),
        "p": statement.p,
        "p_adjusted": statement.adjusted,
        "family": statement.family,
        "claimed": statement.claimed,
    }


def _bounds(interval: Interval) -> list[float] | None:
    known = interval.low == interval.low  # not where a record has no interval
    return [interval.low, interval.high] if known else None
