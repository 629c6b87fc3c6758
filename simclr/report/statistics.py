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
from simclr.report.crossed import Answers, MeanSquares, mean_squares
from simclr.report.groups import Group
from simclr.report.standing import BASELINES, LAYERS, NETWORKS, SIGNIFICANT, Interval, Pairs, Panel, Standing, Statement

MORE_SEEDS = (2, 3)


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
    answered = [(group, answers_of(group)) for group in members]
    usual = Counter(group.seeds for group, answers in answered if answers is not None)
    seeds = max(usual, key=lambda each: (usual[each], len(each))) if usual else ()
    together, alone = [], []
    for group, answers in sorted(answered, key=lambda each: -_mean(*each)):
        if answers is not None and set(seeds) <= set(group.seeds):
            together.append((group, answers))
        else:
            alone.append(_alone(group, answers))
    if not together:
        return Panel(_adjusted(alone))
    groups = [group for group, _ in together]
    shared = np.stack([answers[:, [group.seeds.index(seed) for seed in seeds]] for group, answers in together])
    joint = mean_squares(shared[:, 0], [group.networks for group in groups])
    pairs = _pairs(groups, joint, seeds)
    standings = _standings(groups, seeds, shared, joint, pairs)
    for place, (group, answers) in enumerate(together):
        if group.seeds != seeds:  # its accuracy takes all that it has
            standings[place] = replace(standings[place], accuracy=accuracy_interval(answers[0]))
    one_of_several = len(seeds) == 1 and joint.networks > 1
    prospects = {more: joint.reach(more, SIGNIFICANT) for more in MORE_SEEDS} if one_of_several else {}
    return Panel(_adjusted([*standings, *alone]), seeds, len(together), pairs, prospects)


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
    return _recorded(group, "probe.test_accuracy").mean if answers is None else float(answers[0].mean())


def _pairs(groups: list[Group], squares: MeanSquares, seeds: tuple[int, ...]) -> Pairs:
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
    groups: list[Group], seeds: tuple[int, ...], answers: Answers, joint: MeanSquares, pairs: Pairs
) -> list[Standing]:
    """Of groups that are compared, from their answers (R, 3, K, S, n)."""
    accuracies, over = {}, {}
    for place, name in enumerate(BASELINES, start=1):
        accuracies[name] = _intervals(mean_squares(answers[:, place], joint.network))
        gains = answers[:, 0].astype(np.int8) - answers[:, place].astype(np.int8)
        gained = mean_squares(gains, joint.network, joint.slope)
        sides = [(group,) for group in groups]
        over[name] = _statements([name] * len(groups), sides, seeds, gained.means, gained.of_means())
    # One seed of several networks says nothing of which of them is the best.
    ranked = len(groups) > 1 and (len(seeds) > 1 or joint.networks == 1)
    best = chances(joint).tolist() if ranked else [None] * len(groups)
    ranks = _ranks(len(groups), pairs)
    return [
        Standing(
            group,
            accuracy,
            {name: accuracies[name][place] for name in BASELINES},
            {name: over[name][place] for name in BASELINES},
            best[place],
            ranks[place] if ranked else None,
        )
        for place, (group, accuracy) in enumerate(zip(groups, _intervals(joint), strict=True))
    ]


def _ranks(count: int, pairs: Pairs) -> list[tuple[int, int]]:
    above, below = [0] * count, [0] * count
    for (row, column), statement in pairs.items():
        if statement.claimed:
            higher, lower = (row, column) if statement.mean > 0 else (column, row)
            above[lower] += 1
            below[higher] += 1
    return [(1 + over, count - under) for over, under in zip(above, below, strict=True)]


def _alone(group: Group, answers: Answers | None) -> Standing:
    """A group that is compared with its own baselines only."""
    if answers is not None:
        return _standings([group], group.seeds, answers[None], mean_squares(answers[:1]), {})[0]
    known = [
        name for name in BASELINES if all(isinstance(cell.get(f"baselines.{name}.mean"), float) for cell in group.cells)
    ]
    baselines = {name: _recorded(group, f"baselines.{name}") for name in known}
    return Standing(group, _recorded(group, "probe.test_accuracy"), baselines)


def _recorded(group: Group, path: str) -> Interval:
    """What records say where predictions are missing: one cell's own interval, of several the mean of their bounds."""
    mean = float(np.mean([cell.get(f"{path}.mean") for cell in group.cells]))
    bounds = [cell.get(f"{path}.ci95") for cell in group.cells]
    if all(isinstance(each, list) and len(each) == 2 for each in bounds):
        low, high = np.mean(np.array(bounds, dtype=float), axis=0)
        return Interval(mean, float(low), float(high))
    return Interval(mean, float("nan"), float("nan"))


def _intervals(squares: MeanSquares) -> list[Interval]:
    every = squares.of_means()
    return [
        Interval(mean, *interval(mean, every.at(place), squares.images))
        for place, mean in enumerate(squares.means.tolist())
    ]


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
        Statement(mean, least, most, kind, each, seeds, p, adjusted, len(gains))
        for kind, each, (mean, least, most, p, adjusted) in zip(kinds, sides, numbers, strict=True)
    ]


def _adjusted(standings: Sequence[Standing]) -> tuple[Standing, ...]:
    """Each comparison with a baseline is adjusted, in place, for all others with that baseline."""
    for name in BASELINES:
        made = [each.over for each in standings if name in each.over]
        p_values = holm(np.array([over[name].p for over in made])).tolist()
        for over, adjusted in zip(made, p_values, strict=True):
            over[name] = replace(over[name], adjusted=adjusted, family=len(made))
    return tuple(standings)
