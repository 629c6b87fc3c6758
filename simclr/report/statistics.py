"""Which accuracies are how sure, which differences are claimed, and who is first.

Groups that were measured on the same images with as many label subsets form a *panel*: within one, comparisons are
paired. Variances are those of :mod:`simclr.report.crossed`.

* An accuracy has Wilson's interval at its effective sample size, as in :mod:`simclr.evaluation.uncertainty`.
* A difference is claimed where its p value, after Holm's correction over its family, is below 0.05 (Holm 1979, "A
  simple sequentially rejective multiple test procedure"). A family is all comparisons between cells of a panel, or all
  its comparisons with one baseline.
* A rank lies between those that the claims leave room for: one more than there are cells claimed to be above, and as
  many as are not claimed to be below (Mogstad, Romano, Shaikh and Wilhelm 2024, "Inference for ranks with applications
  to mobility across neighbourhoods and academic achievement across countries").
* With one seed a setting has one network. Layers of the same one are compared, and each with its baselines, but no two
  networks with each other: other seeds of either might differ as much.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simclr.evaluation.uncertainty import Uncertainty, interval
from simclr.report.best import chances
from simclr.report.crossed import MeanSquares, mean_squares
from simclr.report.groups import Group
from simclr.report.prospect import reach
from simclr.report.standing import (
    LAYERS,
    NETWORKS,
    PIXELS,
    SIGNIFICANT,
    UNTRAINED,
    Interval,
    Panel,
    Standing,
    Statement,
)

BASELINES = (UNTRAINED, PIXELS)
MORE_SEEDS = (2, 3)

Answers = NDArray[np.bool_]


def panels(groups: Sequence[Group]) -> list[Panel]:
    """Every group's standing, by panel; the panel of most groups first."""
    together: dict[tuple[Any, ...], list[Group]] = defaultdict(list)
    for group in groups:
        together[questions_of(group)].append(group)
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


def accuracy_interval(answers: Answers) -> Interval:
    """The interval of one group's accuracy, from its answers (K, S, n): seed, label subset, test image."""
    return _intervals(mean_squares(answers[None]))[0]


def questions_of(group: Group) -> tuple[Any, ...]:
    """What must agree for two groups to be compared pair by pair."""
    own = (group.data, group.digest, group.part, group.label_fraction)
    predictions = group.first.predictions
    if not predictions:
        return (*own, "no predictions")
    labels = hashlib.sha256(np.ascontiguousarray(predictions["labels"]).tobytes()).hexdigest()
    draws = "documents" if group.probe == "documents" else "stratified"
    return (*own, labels, len(predictions["trained"]), draws)


def _panel(members: list[Group]) -> Panel:
    answers = {id(group): answers_of(group) for group in members}
    usual = Counter(group.seeds for group in members if answers[id(group)] is not None)
    seeds = max(usual, key=lambda each: (usual[each], len(each))) if usual else ()
    by_mean = sorted(members, key=lambda group: -_mean(group, answers[id(group)]))
    compared = {
        id(group): own
        for group in by_mean
        if (own := answers[id(group)]) is not None and set(seeds) <= set(group.seeds)
    }
    alone = [_alone(group, answers[id(group)]) for group in by_mean if id(group) not in compared]
    together = [group for group in by_mean if id(group) in compared]
    if not together:
        return Panel(tuple(_adjusted(alone)))
    shared = np.stack([_of_seeds(group, seeds, compared[id(group)]) for group in together])
    joint = mean_squares(shared[:, 0], _networks(together))
    pairs = _pairs(together, joint, seeds)
    standings = _standings(together, seeds, shared, joint, pairs)
    for place, group in enumerate(together):
        if group.seeds != seeds:  # its accuracy takes all that it has
            standings[place] = replace(standings[place], accuracy=accuracy_interval(compared[id(group)][0]))
    one_of_several = len(seeds) == 1 and joint.networks > 1
    prospects = {more: reach(joint, more, SIGNIFICANT) for more in MORE_SEEDS} if one_of_several else {}
    return Panel(tuple(_adjusted([*standings, *alone])), seeds, len(together), pairs, prospects)


def answers_of(group: Group) -> Answers | None:
    """Right or wrong, (3, K, S, n): trained, untrained, pixels; None where predictions are missing or do not fit."""
    tables: list[Answers] = []
    for cell in group.cells:
        found = cell.predictions
        if not found or (tables and found["trained"].shape != tables[0].shape[1:]):
            return None
        if not np.array_equal(found["labels"], group.first.predictions["labels"]):
            return None
        tables.append(np.stack([found[name] == found["labels"] for name in ("trained", *BASELINES)]))
    return np.stack(tables, axis=1)


def _mean(group: Group, answers: Answers | None) -> float:
    if answers is not None:
        return float(answers[0].mean())
    return float(np.mean([cell.get("probe.test_accuracy.mean") for cell in group.cells]))


def _of_seeds(group: Group, seeds: tuple[int, ...], answers: Answers) -> Answers:
    return answers[:, [group.seeds.index(seed) for seed in seeds]]


def _networks(groups: list[Group]) -> list[int]:
    """Equal numbers for groups that look at the same networks."""
    numbers: dict[tuple[Any, ...], int] = {}
    return [numbers.setdefault(group.networks, len(numbers)) for group in groups]


def _pairs(groups: list[Group], squares: MeanSquares, seeds: tuple[int, ...]) -> dict[tuple[int, int], Statement]:
    """All comparisons between two groups that can be made."""
    same = squares.network[:, None] == squares.network[None, :]
    rows, columns = np.nonzero(np.triu(same | (len(seeds) > 1), 1))
    if not len(rows):
        return {}
    said = _statements(
        [LAYERS if same[each] else NETWORKS for each in zip(rows, columns, strict=True)],
        [(groups[row], groups[column]) for row, column in zip(rows, columns, strict=True)],
        seeds,
        squares.means[rows] - squares.means[columns],
        squares.of_differences().at((rows, columns)),
    )
    return dict(zip(zip(rows.tolist(), columns.tolist(), strict=True), said, strict=True))


def _standings(
    groups: list[Group],
    seeds: tuple[int, ...],
    answers: Answers,
    joint: MeanSquares,
    pairs: dict[tuple[int, int], Statement],
) -> list[Standing]:
    """Of groups that are compared, from their answers (R, 3, K, S, n)."""
    trained = _intervals(joint)
    baselines = [_intervals(mean_squares(answers[:, place], joint.network)) for place in (1, 2)]
    over = [_over(kind, groups, seeds, answers, place, joint) for place, kind in enumerate(BASELINES, start=1)]
    # One seed of several networks says nothing of which of them is the best.
    ranked = len(groups) > 1 and (len(seeds) > 1 or joint.networks == 1)
    best = chances(joint) if ranked else None
    ranks = _ranks(len(groups), pairs)
    return [
        Standing(
            group,
            trained[place],
            baselines[0][place],
            baselines[1][place],
            over[0][place],
            over[1][place],
            None if best is None else float(best[place]),
            ranks[place] if ranked else None,
        )
        for place, group in enumerate(groups)
    ]


def _ranks(count: int, pairs: dict[tuple[int, int], Statement]) -> list[tuple[int, int]]:
    above, below = [0] * count, [0] * count
    for (row, column), statement in pairs.items():
        if statement.claimed:
            higher, lower = (row, column) if statement.mean > 0 else (column, row)
            above[lower] += 1
            below[higher] += 1
    return [(1 + over, count - under) for over, under in zip(above, below, strict=True)]


def _alone(group: Group, answers: Answers | None) -> Standing:
    """A group that is compared with its own baselines only."""
    if answers is None:
        accuracy = _recorded(group, "probe.test_accuracy")
        return Standing(group, accuracy, _baseline(group, UNTRAINED), _baseline(group, PIXELS))
    joint = mean_squares(answers[:1])
    accuracy, untrained, pixels = (accuracy_interval(each) for each in answers)
    over_untrained, over_pixels = (
        _over(kind, [group], group.seeds, answers[None], place, joint)[0]
        for place, kind in enumerate(BASELINES, start=1)
    )
    return Standing(group, accuracy, untrained, pixels, over_untrained, over_pixels)


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
    every = squares.of_means()
    return [
        Interval(mean, *interval(mean, every.at(place), squares.images))
        for place, mean in enumerate(squares.means.tolist())
    ]


def _over(
    kind: str, groups: list[Group], seeds: tuple[int, ...], answers: Answers, place: int, joint: MeanSquares
) -> list[Statement]:
    """How much each group is above its own baseline, the ``place``-th of its tables."""
    gains = answers[:, 0].astype(np.int8) - answers[:, place].astype(np.int8)
    squares = mean_squares(gains, joint.network, joint.slope)
    return _statements([kind] * len(groups), [(each,) for each in groups], seeds, squares.means, squares.of_means())


def _statements(
    kinds: Sequence[str],
    sides: Sequence[tuple[Group, ...]],
    seeds: tuple[int, ...],
    gains: NDArray[np.float64],
    uncertainty: Uncertainty,
) -> list[Statement]:
    """One for each gain; they are a family."""
    halves, p_values = uncertainty.halves(), uncertainty.p_values(gains)
    low, high = np.maximum(gains - halves, -1), np.minimum(gains + halves, 1)
    numbers = np.stack([gains, low, high, p_values, holm(p_values)], axis=1).tolist()
    return [
        Statement(kind, each, seeds, mean, least, most, p, adjusted, len(gains))
        for kind, each, (mean, least, most, p, adjusted) in zip(kinds, sides, numbers, strict=True)
    ]


def _adjusted(standings: list[Standing]) -> list[Standing]:
    """The same, each comparison with a baseline adjusted for all others with that baseline."""
    for name in ("over_untrained", "over_pixels"):
        made = [(place, said) for place, each in enumerate(standings) if (said := getattr(each, name)) is not None]
        adjusted = holm(np.array([said.p for _, said in made]))
        for (place, said), value in zip(made, adjusted, strict=True):
            whole = replace(said, adjusted=float(value), family=len(made))
            standings[place] = replace(standings[place], **{name: whole})
    return standings
