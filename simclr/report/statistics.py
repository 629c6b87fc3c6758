"""Which accuracies are how sure, which differences are real, and who is first.

Groups that were measured with the same label subsets on the same test images form a *panel*: within one, comparisons
are paired. Variances are those of :mod:`simclr.report.crossed`; quantiles and p values are SciPy's.

* An accuracy has Wilson's interval at its effective sample size, as in :mod:`simclr.evaluation.accuracy`.
* A difference has Student's interval; it is called real where its p value, after Holm's correction over all pairs of
  the panel (or over all comparisons with a baseline), is below 0.05 (Holm 1979, "A simple sequentially rejective
  multiple test procedure").
* The ranking is drawn from the joint distribution of the means, a multivariate t: how often each comes first, and
  between which ranks it lies in 95 % of draws.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from simclr.evaluation.accuracy import wilson
from simclr.report.crossed import MeanSquares, mean_squares
from simclr.report.groups import Group
from simclr.report.ranks import ranking

SIGNIFICANT = 0.05
BASELINES = ("untrained", "pixels")


@dataclass(frozen=True)
class Interval:
    """A number and where it may lie, with 95 % confidence."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How much one accuracy is above another on the same subsets and images."""

    mean: float
    low: float
    high: float
    p: float
    """After Holm's correction over the comparisons of its kind."""

    @property
    def real(self) -> bool:
        return self.p < SIGNIFICANT


@dataclass(frozen=True)
class Standing:
    """What a group reached, and where that puts it in its panel."""

    group: Group
    accuracy: Interval
    untrained: Interval | None = None
    pixels: Interval | None = None
    over_untrained: Difference | None = None
    over_pixels: Difference | None = None
    best: float | None = None
    """The probability of being the best of the panel; None where it is not ranked."""
    ranks: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Panel:
    """Groups that answered the same questions: first those that are compared, the best first, then any others.

    Attributes:
        standings: one per group.
        seeds: those of the groups that are compared; a group that lacks one has its own interval and no rank.
        gains, halves, p_values: (C, C) of the C compared groups: how much the row's group is above the column's, half
            the width of the interval, and p after Holm's correction over all pairs.
    """

    standings: tuple[Standing, ...]
    seeds: tuple[int, ...]
    gains: NDArray[np.float64]
    halves: NDArray[np.float64]
    p_values: NDArray[np.float64]

    def compared(self) -> tuple[Standing, ...]:
        return self.standings[: len(self.gains)]

    def difference(self, first: Standing, second: Standing) -> Difference | None:
        """How much the first is above the second; None where they are not compared."""
        place = {id(each): position for position, each in enumerate(self.compared())}
        if id(first) not in place or id(second) not in place:
            return None
        at = place[id(first)], place[id(second)]
        return _difference(float(self.gains[at]), float(self.halves[at]), float(self.p_values[at]))

    def tied(self) -> list[Standing]:
        """Those that cannot be told from the best one."""
        if not len(self.gains):
            return []
        return [each for place, each in enumerate(self.compared()) if place and self.p_values[0, place] >= SIGNIFICANT]


def panels(groups: Sequence[Group]) -> list[Panel]:
    """Every group's standing, by panel; the panel of most groups first."""
    together: dict[tuple[Any, ...], list[Group]] = defaultdict(list)
    for group in groups:
        together[_questions(group)].append(group)
    found = [_panel(members) for members in together.values()]
    return sorted(found, key=lambda panel: (-len(panel.standings), -panel.standings[0].accuracy.mean))


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's adjusted p values: the i-th smallest of m times m - i, never less than the one before it.

    >>> holm(np.array([0.01, 0.04, 0.03])).round(6).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return adjusted


def accuracy_interval(answers: NDArray[np.bool_]) -> Interval:
    """The interval of one group's accuracy, from its answers (K, S, n): seed, label subset, test image."""
    return _intervals(mean_squares(answers[None]))[0]


def _questions(group: Group) -> tuple[Any, ...]:
    """What must agree for two groups to be compared pair by pair."""
    predictions = group.first.predictions
    if not predictions:
        return (group.data, group.label_fraction, "no predictions")
    labels = hashlib.sha256(np.ascontiguousarray(predictions["labels"]).tobytes()).hexdigest()
    draws = "documents" if group.probe == "documents" else "stratified"
    return (group.data, group.label_fraction, labels, len(predictions["trained"]), draws)


def _panel(members: list[Group]) -> Panel:
    answers = {id(group): _answers(group) for group in members}
    usual = Counter(group.seeds for group in members if answers[id(group)] is not None)
    seeds = max(usual, key=lambda each: (usual[each], len(each))) if usual else ()
    compared = [
        group for group in members if answers[id(group)] is not None and seeds and set(seeds) <= set(group.seeds)
    ]
    compared.sort(key=lambda group: -_mean(group, answers[id(group)]))
    others = [group for group in members if group not in compared]
    others.sort(key=lambda group: -_mean(group, answers[id(group)]))
    alone = [_alone(group, answers[id(group)]) for group in others]
    if not compared:
        empty = np.zeros((0, 0))
        return Panel(tuple(alone), (), empty, empty, empty)
    return _compare(compared, seeds, answers, alone)


def _answers(group: Group) -> NDArray[np.bool_] | None:
    """Right or wrong, (3, K, S, n): trained, untrained, pixels; None where predictions are missing or do not fit."""
    tables: list[NDArray[np.bool_]] = []
    for cell in group.cells:
        found = cell.predictions
        if not found or (tables and found["trained"].shape != tables[0].shape[1:]):
            return None
        if not np.array_equal(found["labels"], group.first.predictions["labels"]):
            return None
        tables.append(np.stack([found[name] == found["labels"] for name in ("trained", *BASELINES)]))
    return np.stack(tables, axis=1)


def _mean(group: Group, answers: NDArray[np.bool_] | None) -> float:
    if answers is not None:
        return float(answers[0].mean())
    return float(np.mean([cell.get("probe.test_accuracy.mean") for cell in group.cells]))


def _compare(
    groups: list[Group],
    seeds: tuple[int, ...],
    answers: dict[int, NDArray[np.bool_] | None],
    alone: list[Standing],
) -> Panel:
    shared = np.stack([_of_seeds(group, seeds, answers[id(group)]) for group in groups])
    trained, untrained, pixels = shared[:, 0], shared[:, 1], shared[:, 2]
    networks = _networks(groups)
    joint = mean_squares(trained, networks)
    gains = joint.means[:, None] - joint.means[None, :]
    variances, freedom = joint.difference_variances()
    halves, p_values = _student(gains, variances, freedom)
    pairs = np.triu_indices(len(groups), 1)
    adjusted = np.ones_like(p_values)
    adjusted[pairs] = holm(p_values[pairs])
    adjusted.T[pairs] = adjusted[pairs]
    chances, lowest, highest = ranking(joint.means, joint.covariance(), float(np.median(freedom[0])))
    over = [_over(trained, baseline, networks) for baseline in (untrained, pixels)]
    of_untrained, of_pixels = (_intervals(mean_squares(each, networks)) for each in (untrained, pixels))
    own = _intervals(joint)
    standings = []
    for place, group in enumerate(groups):
        everything = answers[id(group)]
        assert everything is not None
        accuracy = own[place] if group.seeds == seeds else accuracy_interval(everything[0])
        standings.append(
            Standing(
                group,
                accuracy,
                of_untrained[place],
                of_pixels[place],
                over[0][place],
                over[1][place],
                float(chances[place]),
                (int(lowest[place]), int(highest[place])),
            )
        )
    return Panel(tuple(standings + alone), seeds, gains, halves, adjusted)


def _of_seeds(group: Group, seeds: tuple[int, ...], answers: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    assert answers is not None
    return answers[:, [group.seeds.index(seed) for seed in seeds]]


def _alone(group: Group, answers: NDArray[np.bool_] | None) -> Standing:
    """A group that is compared with its own baselines only."""
    if answers is None:
        accuracy = _recorded(group, "probe.test_accuracy")
        return Standing(group, accuracy, _baseline(group, "untrained"), _baseline(group, "pixels"))
    parts = [accuracy_interval(each) for each in answers]
    over = [_over(answers[:1], answers[place : place + 1])[0] for place in (1, 2)]
    return Standing(group, parts[0], parts[1], parts[2], over[0], over[1])


def _recorded(group: Group, path: str) -> Interval:
    """What records say where predictions are missing: one cell's own interval, of several the mean of their bounds."""
    mean = float(np.mean([cell.get(f"{path}.mean") for cell in group.cells]))
    bounds = [cell.get(f"{path}.ci95") for cell in group.cells]
    if all(isinstance(each, list) and len(each) == 2 for each in bounds):
        low, high = np.mean(np.array(bounds, dtype=float), axis=0)
        return Interval(mean, float(low), float(high))
    return Interval(mean, float("nan"), float("nan"))


def _baseline(group: Group, name: str) -> Interval | None:
    path = f"baselines.{name}"
    return _recorded(group, path) if all(isinstance(cell.get(f"{path}.mean"), float) for cell in group.cells) else None


def _intervals(squares: MeanSquares) -> list[Interval]:
    variances, freedom = squares.variances()
    found = []
    for mean, variance, degrees in zip(squares.means, variances, freedom, strict=True):
        size = mean * (1 - mean) / variance if variance > 0 else squares.images
        found.append(Interval(float(mean), *wilson(float(mean), float(size), float(degrees))))
    return found


def _networks(groups: list[Group]) -> list[int]:
    """Equal numbers for groups that look at the same pretraining."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(group.first.key or group.first.name, len(numbers)) for group in groups]


def _over(
    tables: NDArray[np.bool_], baseline: NDArray[np.bool_], networks: Sequence[int] | None = None
) -> list[Difference]:
    """How much each table (R, K, S, n) is above its own baseline, with Holm's correction over the R comparisons."""
    squares = mean_squares(tables.astype(np.int8) - baseline.astype(np.int8), networks)
    variances, freedom = squares.variances()
    halves, p_values = _student(squares.means, variances, freedom)
    return [_difference(*map(float, each)) for each in zip(squares.means, halves, holm(p_values), strict=True)]


def _student(
    gains: NDArray[np.float64], variances: NDArray[np.float64], freedom: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Half the interval's width, and the two-sided p value; answers that agree throughout do not differ."""
    errors = np.sqrt(variances)
    scores = np.divide(np.abs(gains), errors, out=np.zeros_like(gains), where=errors > 0)
    return stats.t.ppf(0.975, freedom) * errors, 2 * stats.t.sf(scores, freedom)


def _difference(gain: float, half: float, p: float) -> Difference:
    return Difference(gain, max(gain - half, -1.0), min(gain + half, 1.0), p)
