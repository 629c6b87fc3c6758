"""What a report can say: how sure an accuracy is, what is above what, and which groups may be compared at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from simclr.report.groups import Group

SIGNIFICANT = 0.05
NETWORKS, LAYERS, UNTRAINED, PIXELS = "networks", "layers", "untrained", "pixels"
BASELINES = (UNTRAINED, PIXELS)
"""In the order in which tables of answers have them, after the trained network's."""


@dataclass(frozen=True)
class Interval:
    """A number and where it may lie, with 95 % confidence."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Statement(Interval):
    """How much one accuracy is above another on the same label subsets and images.

    ``mean``, ``low`` and ``high`` are the difference and its interval, which is not adjusted for other comparisons.

    Attributes:
        kind: what is compared: ``networks`` (of different pretrainings), ``layers`` of the same ones, or a cell with
            what it would be without pretraining, ``untrained`` or ``pixels``.
        sides: two groups, or the one that is compared with its baseline.
        seeds: those of each side; where there is but one, it is said of that network alone.
        p, adjusted: its p value before and after Holm's correction.
        family: over how many comparisons that was.
    """

    kind: str
    sides: tuple[Group, ...]
    seeds: tuple[int, ...]
    p: float
    adjusted: float = 1.0
    family: int = 1

    @property
    def claimed(self) -> bool:
        return self.adjusted < SIGNIFICANT


@dataclass(frozen=True)
class Standing:
    """What a group reached, and where that puts it in its panel.

    Attributes:
        group: the cells.
        accuracy: its own.
        baselines: those of its baselines, where they are known.
        over: how much it is above them, where that is known.
        best: the probability of being the best of the panel; None where that cannot be said.
        ranks: between which it lies, 1 being the best; None likewise.
    """

    group: Group
    accuracy: Interval
    baselines: dict[str, Interval]
    over: dict[str, Statement] = field(default_factory=dict)
    best: float | None = None
    ranks: tuple[int, int] | None = None


Pairs = dict[tuple[int, int], Statement]
"""Comparisons of two groups, by their places."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Groups that answered the same questions, the best first; those that lack a seed of the others come last.

    Attributes:
        standings: one per group.
        seeds: those of the groups that are compared.
        compared: how many are, from the first on; the others have an interval of their own, and no rank.
        pairs: the comparisons between two of them, by their places.
        prospects: with one seed, the difference between networks that so many would just tell from noise.
    """

    standings: tuple[Standing, ...]
    seeds: tuple[int, ...] = ()
    compared: int = 0
    pairs: Pairs = field(default_factory=dict)
    prospects: dict[int, float] = field(default_factory=dict)

    @property
    def first(self) -> Group:
        return self.standings[0].group

    def statements(self) -> Iterator[Statement]:
        """All that is said: of two cells, then of each and its baselines."""
        yield from self.pairs.values()
        for standing in self.standings:
            yield from standing.over.values()

    def behind(self) -> Iterator[tuple[Standing, Statement]]:
        """Those that the best one is compared with, the higher ones first, and how much it is above each."""
        for place, each in enumerate(self.standings):
            if (0, place) in self.pairs:
                yield each, self.pairs[0, place]

    def tied(self) -> list[Standing]:
        """Those that are compared with the best one and not claimed to be below it."""
        return [each for each, difference in self.behind() if not difference.claimed]
