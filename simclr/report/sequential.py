"""What a grid that grows seed by seed has settled, with one promise over all that was looked at on the way.

A grid is looked at again after every seed, and what is settled gets no more of them. Looking often finds a difference
sooner or later where there is none, and so does comparing many cells. Both are paid for: each of the m comparisons
may be wrong at any look with probability 0.05 / m (Bonferroni), which is spent over the looks that may come as Lan
and DeMets 1983 ("Discrete sequential boundaries for clinical trials", Biometrika 70) have it for Pocock's boundary:
much of it early, since a cell that is out early is what saves seeds. The level of a look follows from what is spent
and from how much earlier looks have seen already (:func:`levels`); for Student's t the levels of the normal case are
used, as Jennison and Turnbull 2000 advise ("Group sequential methods", 3.8), and a tenth is kept back for that. Then
*every* interval of *every* look has its truth with 95 %, and so have the narrowest ones so far, which are kept. What
is said follows from these intervals alone: who is above whom, that two are the same for all practical purposes, and
who may still be the best. Nothing else of a statement is uncertain, so that it does not matter which cells were given
more seeds, or why.

One seed says nothing of how much seeds differ: the first look is after two. Up to four say little, so that what they
say is weighed with what seeds did elsewhere, taken for more than it was (``USUAL_SPREAD``, with the weight of
``USUAL`` degrees of freedom; Smyth 2004, as in :mod:`.crossed`); from five on (``ENOUGH``) a grid's seeds speak for
themselves. Simulated rates of false statements, also where seeds differ by more than that, are in ``docs/seeds.md``.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from simclr.evaluation.uncertainty import Uncertainty
from simclr.report.crossed import Answers, MeanSquares, difference_products, mean_squares
from simclr.report.standing import BASELINES, SIGNIFICANT

FIRST_LOOK = 2
"""Seeds before anything can be said of settings."""
USUAL = 2
"""Degrees of freedom with which other grids tell how much seeds differ."""
USUAL_SPREAD = 0.2
"""Standard deviation between networks of one configuration that is taken for usual, in log odds of an accuracy: 0.036
at an accuracy of 0.76. Grids on digits and photographs had 0.12."""
GIVEN_OUT = 0.9
"""Of the 0.05: Student's t leaves the bounds of the normal case a little oftener, as simulations have it."""
NODES = 200
"""Of the quadrature by which levels are found."""
ENOUGH = 5
"""Seeds that need no help of other grids."""
BEST, ORDER, BEATS_PIXELS = "best", "order", "beats_pixels"


@dataclass(frozen=True)
class Question:
    """What is asked of a grid, and how long.

    Attributes:
        answer: ``best``, which contender is the best or cannot be told from it; ``order``, that of the levels of
            ``by`` where all else is equal; ``beats_pixels``, which are above raw pixels and the untrained network.
        by: the factor whose levels are ordered.
        smallest: a difference below it is none.
        seeds: of each contender, at most.
    """

    answer: str
    by: str | None
    smallest: float
    seeds: int


@dataclass(frozen=True, eq=False)
class Contender:
    """Cells that differ in nothing but the seed, as far as they were measured.

    Attributes:
        at: its place on each factor that the grid varies.
        panel: what has to agree for two of them to be compared image by image.
        networks: of each seed, the pretraining that was looked at.
        answers: (3, K, S, n) right or wrong: trained, untrained and raw pixels; seed, label subset, image.
        lost: it can get no more seeds, as a cell of it failed.
    """

    at: Mapping[str, str]
    panel: Hashable
    networks: tuple[Hashable, ...]
    answers: Answers
    lost: bool = False

    @property
    def seeds(self) -> int:
        """How many it has."""
        return self.answers.shape[1]


@dataclass
class Comparison:
    """How much a contender is above another one, or above its own baseline, as far as that is known.

    Attributes:
        first: the contender's place.
        second: the other one's, or the name of the baseline.
        mean: the difference at the last look at it.
        low, high: the truth lies between them, with 95 % for all comparisons at all looks together.
    """

    first: int
    second: int | str
    mean: float = 0.0
    low: float = -1.0
    high: float = 1.0

    def seen(self, mean: float, half: float) -> None:
        """Take in what a look says."""
        low, high = max(self.low, mean - half), min(self.high, mean + half)
        self.mean = mean
        self.low, self.high = min(low, high), max(low, high)

    @property
    def above(self) -> int:
        """1 where the first is above, -1 where it is below, 0 where that is not known."""
        return int(self.low > 0) - int(self.high < 0)

    def same(self, smallest: float) -> bool:
        """Whether they are the same for all practical purposes."""
        return max(-self.low, self.high) < smallest

    def open(self, smallest: float) -> bool:
        """Whether neither of that is known."""
        return not self.above and not self.same(smallest)


@dataclass
class Inquiry:
    """What is known after some looks.

    Attributes:
        question: what was asked.
        contenders: of whom.
        comparisons: all that the answer may rest on.
        seeds: at the last look; 0 before the first.
        used: of each contender, by its place, as many as were looked at.
    """

    question: Question
    contenders: Sequence[Contender]
    comparisons: list[Comparison] = field(default_factory=list)
    seeds: int = 0
    used: dict[int, int] = field(default_factory=dict)

    @property
    def asked(self) -> list[int]:
        """The contenders whose next seed could still change the answer, by their places; none when it is over."""
        if self.seeds >= self.question.seeds:
            return []
        lost = {place for place, each in enumerate(self.contenders) if each.lost and each.seeds < self.next_seeds}
        waiting = [{each.first, each.second} for each in self.open()]
        return sorted({place for pair in waiting if not pair & lost for place in pair if isinstance(place, int)})

    @property
    def next_seeds(self) -> int:
        """How many seeds those that are asked have to have for the next look."""
        return max(FIRST_LOOK, self.seeds + 1)

    @property
    def settled(self) -> bool:
        """Whether the answer is known."""
        return not self.open()

    def unbeaten(self) -> list[int]:
        """Contenders above whom no other one is known to be."""
        beaten = {each.second if each.above > 0 else each.first for each in self.comparisons if each.above}
        return [place for place in range(len(self.contenders)) if place not in beaten]

    def open(self) -> list[Comparison]:
        """The comparisons that the answer waits for."""
        found = [each for each in self.comparisons if each.open(self.question.smallest)]
        if self.question.answer != BEST:
            return found
        left = set(self.unbeaten())
        return [each for each in found if {each.first, each.second} <= left]


def follow(question: Question, contenders: Sequence[Contender]) -> Inquiry:
    """Look after each seed, as far as those have it whose seed the answer needs; the same looks lead to the same.

    Args:
        question: what is asked.
        contenders: all of the grid, each with a seed at least, in an order that does not change; seeds that an earlier
            look had no need of are passed over.
    """
    inquiry = Inquiry(question, contenders, list(_comparisons(question, contenders)))
    while asked := inquiry.asked:
        if min(contenders[place].seeds for place in asked) < inquiry.next_seeds:
            break
        _look(inquiry, asked, inquiry.next_seeds)
    return inquiry


def spent(seeds: int, most: int) -> float:
    """What of the 0.05 is spent when so many seeds of at most so many have been looked at (Lan and DeMets 1983).

    >>> [round(spent(seeds, 5), 3) for seeds in (1, 2, 3, 4, 5)]
    [0.0, 0.026, 0.035, 0.043, 0.05]
    """
    return SIGNIFICANT * math.log(1 + (math.e - 1) * seeds / most) if seeds >= FIRST_LOOK else 0.0


@cache
def levels(most: int, whole: float) -> dict[int, float]:
    """The two-sided level of the look after each number of seeds, by that number; together they err with ``whole``.

    A sum over independent seeds is a Brownian motion looked at now and then. At each look the chance to leave the
    bounds there, and not before, is what is spent there (Armitage, McPherson and Rowe 1969, "Repeated significance
    tests on accumulating data").

    >>> {seeds: round(level, 4) for seeds, level in levels(5, 0.05).items()}
    {2: 0.0262, 3: 0.0179, 4: 0.0175, 5: 0.0177}
    """
    found: dict[int, float] = {}
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    at, inside, mass = np.zeros(1), np.ones(1), np.ones(1)  # where the motion may be, its density, the nodes' weights
    before = 0
    for seeds in range(FIRST_LOOK, most + 1):
        step = math.sqrt(seeds - before)
        due = (spent(seeds, most) - spent(seeds - 1, most)) * whole / SIGNIFICANT

        def too_many(
            bound: float, at: Any = at, chance: Any = inside * mass, step: float = step, due: float = due
        ) -> float:
            return float(chance @ (ndtr((-bound - at) / step) + ndtr((at - bound) / step))) - due

        bound = float(brentq(too_many, 0.0, 20 * math.sqrt(seeds)))
        found[seeds] = float(2 * ndtr(-bound / math.sqrt(seeds)))
        there = bound * nodes
        steps = np.exp(-(((there[:, None] - at[None, :]) / step) ** 2) / 2) / (step * math.sqrt(2 * math.pi))
        at, inside, mass, before = there, steps @ (inside * mass), bound * weights, seeds
    return found


def _comparisons(question: Question, contenders: Sequence[Contender]) -> Iterator[Comparison]:
    places = range(len(contenders))
    if question.answer == BEATS_PIXELS:
        yield from (Comparison(place, baseline) for place in places for baseline in BASELINES)
        return
    for first in places:
        for second in places[first + 1 :]:
            one, other = contenders[first], contenders[second]
            differ = {name for name in one.at if one.at[name] != other.at.get(name)}
            if one.panel == other.panel and (question.answer == BEST or differ == {question.by}):
                yield Comparison(first, second)


def _look(inquiry: Inquiry, asked: Sequence[int], seeds: int) -> None:
    """Take in what so many seeds of the contenders in question say."""
    level = levels(inquiry.question.seeds, GIVEN_OUT * SIGNIFICANT / len(inquiry.comparisons))[seeds]
    by_panel: dict[Hashable, list[int]] = {}
    for place in asked:
        by_panel.setdefault(inquiry.contenders[place].panel, []).append(place)
    for places in by_panel.values():
        answers = np.stack([inquiry.contenders[place].answers[:, :seeds] for place in places])
        joint = mean_squares(answers[:, 0], [inquiry.contenders[place].networks[:seeds] for place in places])
        where = {place: row for row, place in enumerate(places)}
        if inquiry.question.answer == BEATS_PIXELS:
            _look_at_baselines(inquiry, answers, joint, where, level)
            continue
        both = joint.slope[:, None] ** 2 + joint.slope[None, :] ** 2
        halves = _weighed(joint.of_differences(), both, difference_products(joint.rest), joint).halves(level)
        for each in inquiry.open():
            if each.first in where and each.second in where:
                rows = where[each.first], where[int(each.second)]
                each.seen(float(joint.means[rows[0]] - joint.means[rows[1]]), float(halves[rows]))
    inquiry.seeds = seeds
    inquiry.used.update(dict.fromkeys(asked, seeds))


def _look_at_baselines(
    inquiry: Inquiry, answers: Answers, joint: MeanSquares, where: Mapping[int, int], level: float
) -> None:
    for table, baseline in enumerate(BASELINES, start=1):
        gains = answers[:, 0].astype(np.int8) - answers[:, table].astype(np.int8)
        over = mean_squares(gains, joint.network, joint.slope)
        halves = _weighed(over.of_means(), joint.slope**2, np.diag(over.rest), over).halves(level)
        for each in inquiry.open():
            if each.second == baseline and each.first in where:
                row = where[each.first]
                each.seen(float(over.means[row]), float(halves[row]))


def _weighed(
    own: Uncertainty, scale: NDArray[np.float64], rest: NDArray[np.float64], squares: MeanSquares
) -> Uncertainty:
    """What a grid's seeds say of themselves, a few of them weighed with what seeds did elsewhere."""
    if squares.rows >= ENOUGH:
        return own
    usual = USUAL_SPREAD**2 * scale / squares.rows + rest / (squares.rows * squares.images)
    freedom = own.freedom + USUAL
    return Uncertainty((own.freedom * own.row + USUAL * usual) / freedom, freedom, own.image)
