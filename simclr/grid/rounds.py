"""``seeds=auto``: a grid that gets one seed after another, where its question is still open, until it is answered.

Every round is a grid of its own, of those cells whose next seed could still change the answer. Which ones these are is
worked out from the records each time (:func:`simclr.report.sequential.follow`), so that the same command goes on after
anything, and a seed that was measured before for another reason is not measured again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from threadpoolctl import threadpool_limits

from simclr.config import OF_ITS_QUESTION
from simclr.config.cell import fingerprint, say_what_is_idle
from simclr.config.validation import validate_question
from simclr.foundation.errors import InvalidInput, RunFailed, suggestion
from simclr.grid.launcher import Launcher
from simclr.grid.plan import Planned
from simclr.grid.prepare import Grid, expected, prepare
from simclr.grid.run import run
from simclr.grid.table import print_plan
from simclr.records.status import Doing, status
from simclr.report import verdict
from simclr.report.groups import Group
from simclr.report.records import CellRecord, cell_of
from simclr.report.sequential import FIRST_LOOK, ORDER, Contender, Inquiry, Question, follow
from simclr.report.statistics import answers_of, questions_of

log = logging.getLogger(__name__)

Overrides = tuple[str, ...]


def run_rounds(points: Sequence[Sequence[str]], launcher: Launcher, *, dry_run: bool = False) -> RunFailed | None:
    """Ask a grid's question, round by round, given the overrides of each point, whose seeds say where to begin.

    A dry run prints what is known and what the next round would be, and writes nothing.

    Returns:
        The failure, where cells failed: the others went on to the end without them.

    Raises:
        InvalidInput: a point or the question is not valid; nothing was started.
        RunFailed: a round was not finished.
    """
    settings = launcher.settings
    validate_question(settings)
    if settings.rerun:
        raise InvalidInput("rerun=true: with seeds=auto what is there is looked at; valid is false")
    rounds = _Rounds.of(points, launcher)
    failed: RunFailed | None = None
    while True:
        with threadpool_limits(1):  # matrices are small here
            inquiry = rounds.look()
        cost = rounds.cost(inquiry)
        said = verdict.said(inquiry, cost)
        wanted = rounds.wanted(inquiry)
        if dry_run:
            print(*said, sep="\n")
        else:
            verdict.write(rounds.whole.folder, inquiry, cost)
            log.info("%s", said[0])
        if not wanted or (failed and settings.fail_fast):
            return failed
        grid = prepare(wanted, launcher.composer, settings.root)
        workers, threads = launcher.share(len(grid.jobs))
        if dry_run:
            print_plan(grid.plan, expected(grid, workers, threads))
            return None
        try:
            run(grid, launcher, threads)
        except RunFailed as error:
            failed = error
        rounds.take_leave(wanted, failed)


@dataclass
class _Rounds:
    """The contenders of a grid by what was typed for them, each with a point for every seed that it may get."""

    question: Question
    factors: tuple[str, ...]
    points: dict[Overrides, list[Overrides]]
    cells: dict[Overrides, Planned]
    whole: Grid
    lost: set[Overrides] = field(default_factory=set)
    records: dict[str, CellRecord] = field(default_factory=dict)

    @classmethod
    def of(cls, points: Sequence[Sequence[str]], launcher: Launcher) -> _Rounds:
        """From what was typed."""
        settings = launcher.settings
        of_all = (*OF_ITS_QUESTION, "seed")
        contenders = dict.fromkeys(
            tuple(text for text in point if text.partition("=")[0] not in of_all) for point in points
        )
        _check_one_question(points)
        factors = _factors(contenders)
        by = _factor_of(settings.answer, settings.by, factors)
        question = Question(settings.answer, by, settings.smallest, settings.max_seeds)
        first = _first_seed(points, contenders, launcher)
        planned = [(*each, f"seed={seed}") for each in contenders for seed in range(first, first + question.seeds)]
        whole = prepare(planned, launcher.composer, settings.root)
        say_what_is_idle(whole.typed)
        cells = {point.overrides: cell for cell in whole.plan.cells for point in cell.points if cell.cell is not None}
        if any(cell.cell is not None and cell.cell.config.probe.name == "none" for cell in cells.values()):
            raise InvalidInput("probe=none: nothing is compared; valid with seeds=auto is any other probe")
        absent = {each.points[0].overrides[:-1]: each.reason for each in whole.plan.cells if each.cell is None}
        for each, reason in absent.items():
            log.info("left out, as there is no such cell: %s (%s)", " ".join(each), reason)
        if not cells:
            raise InvalidInput("seeds=auto: none of the cells exists")
        of_contenders: dict[Overrides, list[Overrides]] = {}
        for point in (point for point in planned if point in cells):
            of_contenders.setdefault(point[:-1], []).append(point)
        name = fingerprint({"cells": sorted(each.name for each in whole.plan.cells), "question": str(question)})[:12]
        return cls(question, factors, of_contenders, cells, replace(whole, folder=whole.root / "grids" / name, jobs=()))

    def look(self) -> Inquiry:
        """What the records say so far."""
        return follow(self.question, [self._contender(each) for each in self._begun])

    def wanted(self, inquiry: Inquiry) -> list[Overrides]:
        """The points of the next round; none where it is over."""
        begun = self._begun
        asked, seeds = [begun[place] for place in inquiry.asked], inquiry.next_seeds
        if new := [each for each in self.points if each not in self.lost and len(self._measured(each)) < FIRST_LOOK]:
            asked, seeds = new, FIRST_LOOK
        # A seed after another, so that every network is begun before any second one is.
        by_seed = [self.points[each][place] for place in range(seeds) for each in asked]
        return [point for point in by_seed if self._record(point) is None]

    def take_leave(self, wanted: Sequence[Overrides], failed: RunFailed | None) -> None:
        """Go on without those of a round that have no result, as they failed.

        Raises:
            RunFailed: some were not run.
        """
        for point in wanted:
            if self._record(point) is not None:
                continue
            name = self.cells[point].name
            if failed is None or status(self.whole.root, name).doing is not Doing.FAILED:
                raise failed or RunFailed(
                    f"{name}: its record cannot be used; the same grid with rerun=true makes another"
                )
            self.lost.add(point[:-1])

    def cost(self, inquiry: Inquiry) -> verdict.Cost:
        """Pretrainings that were looked at, and those of the full grid."""
        begun = self._begun
        looked_at = [point for place, seeds in inquiry.used.items() for point in self.points[begun[place]][:seeds]]
        used, full = (len({self.cells[point].key for point in some}) for some in (looked_at, self.cells))
        return verdict.Cost(used, full, len(self.points))

    @property
    def _begun(self) -> list[Overrides]:
        """Those of which there is a seed: the contenders of an inquiry, by their places."""
        return [each for each in self.points if self._measured(each)]

    def _contender(self, own: Overrides) -> Contender:
        group = Group(tuple(self._measured(own)), {})
        answers = answers_of(group)
        assert answers is not None  # _record has seen to it
        typed = dict(text.split("=", 1) for text in own)
        at = {name: typed.get(name, "as it is") for name in self.factors}
        return Contender(at, questions_of(group), group.networks, answers, own in self.lost)

    def _measured(self, own: Overrides) -> list[CellRecord]:
        """The records of its first seeds, up to the first that is missing."""
        found = []
        for point in self.points[own]:
            if (record := self._record(point)) is None:
                break
            found.append(record)
        return found

    def _record(self, point: Overrides) -> CellRecord | None:
        cell = self.cells[point]
        if cell.name not in self.records:
            found = cell_of(self.whole.root, cell.name)
            if found is None or found.key != cell.key or answers_of(Group((found,), {})) is None:
                return None
            self.records[cell.name] = found
        return self.records[cell.name]


def _first_seed(points: Sequence[Sequence[str]], contenders: Iterable[Overrides], launcher: Launcher) -> int:
    """The smallest that was typed, else the configurations' own, which has to be one."""
    typed = sorted({text for point in points for text in point if text.startswith("seed=")})
    found = {launcher.composer((*each, text)).seed for each in contenders for text in typed}
    found = found or {launcher.composer(each).seed for each in contenders}
    if not typed and len(found) > 1:
        raise InvalidInput(f"seed={','.join(map(str, sorted(found)))}: contenders begin with one seed; valid is seed=N")
    return min(found)


def _check_one_question(points: Sequence[Sequence[str]]) -> None:
    for key in OF_ITS_QUESTION:
        given = dict.fromkeys(text for point in points for text in point if text.partition("=")[0] == key)
        if len(given) > 1:
            values = ",".join(text.partition("=")[2] for text in given)
            raise InvalidInput(f"{key}={values}: a grid is asked one question; valid is one value")


def _factors(contenders: Iterable[Overrides]) -> tuple[str, ...]:
    """What differs between them, in the order in which it was typed."""
    typed = dict.fromkeys(text for each in contenders for text in each)
    count = Counter(text.partition("=")[0] for text in typed)
    return tuple(key for key in count if count[key] > 1)


def _factor_of(answer: str, by: str | None, factors: Sequence[str]) -> str | None:
    """The factor whose levels are to be ordered; the only one need not be named."""
    varied = ", ".join(factors) or "nothing but the seed"
    if answer != ORDER:
        if by is not None:
            raise InvalidInput(f"by={by}: only with answer={ORDER}")
        return None
    if by is None and len(factors) == 1:
        return factors[0]
    if by is None or by not in factors:
        raise InvalidInput(
            f"by={by or 'null'}: valid is what the grid varies: {varied}.{suggestion(by or '', factors)}"
        )
    return by
