"""Intervals that hold the truth, differences that are real, ranks with their uncertainty."""

from __future__ import annotations

import numpy as np
import pytest

from simclr.evaluation import accuracy
from simclr.report.crossed import mean_squares
from simclr.report.groups import group
from simclr.report.records import read
from simclr.report.statistics import accuracy_interval, panels
from tests.report.constructed import Noise, build, grid

NETWORKS = [0, 0, 0, 1, 1, 1, 2, 2, 2]


def answers(generator, seeds, seed_effect, gain=0.0, subsets=5, images=250):
    """Three networks per seed at three layers each, (9, seeds, subsets, images); the first may be better."""
    easy = 1.5 * generator.standard_normal((1, 1, images))
    luck = 0.2 * generator.standard_normal((seeds, subsets, 1))
    tables = []
    for network in range(3):
        own = seed_effect * generator.standard_normal((seeds, 1, 1))
        taste = 0.4 * generator.standard_normal((seeds, 1, images))
        for _ in range(3):
            layer = 0.3 * seed_effect * generator.standard_normal((seeds, 1, 1))
            odds = 1 + gain * (network == 0) + easy + luck + own + taste + layer
            tables.append(generator.random((seeds, subsets, images)) < 1 / (1 + np.exp(-odds)))
    return np.stack(tables)


def panel_of(root, truth, seeds=(0, 1, 2), noise=None, chance=0):
    cells = read(build(root, grid(truth, seeds), noise or Noise(), chance)).cells
    (panel,) = panels(group(cells).groups)
    return panel


@pytest.mark.parametrize(("seeds", "seed_effect"), [(1, 0.0), (2, 0.1), (3, 0.1), (4, 0.2), (5, 0.3)])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds, seed_effect):
    """Over new seeds, label subsets and test images, in a crossed simulation whose truth is known."""
    generator = np.random.default_rng(1)
    truth = np.mean([answers(generator, 40, seed_effect, images=60).mean() for _ in range(60)])
    held = []
    for _ in range(80):
        squares = mean_squares(answers(generator, seeds, seed_effect), NETWORKS)
        variances, freedom = squares.variances()
        for mean, variance, degrees in zip(squares.means, variances, freedom, strict=True):
            low, high = accuracy.wilson(mean, mean * (1 - mean) / variance, degrees)
            held.append(low <= truth <= high)
    assert 0.91 <= np.mean(held) <= 0.995


@pytest.mark.parametrize(("seeds", "seed_effect"), [(2, 0.0), (3, 0.1), (5, 0.2)])
def test_equal_networks_are_seldom_told_apart(seeds, seed_effect):
    """The chance of one false difference anywhere in a grid, with Holm's correction."""
    from simclr.report.statistics import _student, holm

    generator = np.random.default_rng(2)
    pairs = np.triu_indices(9, 1)
    false = []
    for _ in range(80):
        squares = mean_squares(answers(generator, seeds, seed_effect), NETWORKS)
        gains = squares.means[:, None] - squares.means
        _, p_values = _student(gains, *squares.difference_variances())
        false.append((holm(p_values[pairs]) < 0.05).any())
    assert np.mean(false) <= 0.12


def test_one_seed_is_the_interval_of_a_record():
    correct = np.random.default_rng(0).random((5, 300)) < 0.7
    low, high = accuracy.summary(correct)["ci95"]
    found = accuracy_interval(correct[None])
    assert (found.low, found.high) == pytest.approx((low, high))


def test_the_same_answers_do_not_differ(tmp_path):
    correct = np.random.default_rng(0).random((1, 3, 5, 100)) < 0.7
    squares = mean_squares(np.repeat(correct, 2, axis=0))
    variances, _ = squares.difference_variances()
    assert variances == pytest.approx(0)


def test_perfect_answers_still_leave_doubt():
    found = accuracy_interval(np.ones((3, 5, 50), bool))
    assert found.high == 1
    assert 0.9 < found.low < 0.95


def test_pairing_tells_more_than_two_intervals(tmp_path):
    panel = panel_of(tmp_path, {("two_relu", "encoder"): 1.0, ("none", "encoder"): 0.5}, noise=Noise(image=2.5))
    first, second = panel.standings
    difference = panel.difference(first, second)
    assert first.accuracy.low < second.accuracy.high
    assert difference is not None
    assert difference.real
    assert difference.low > 0
    assert panel.difference(second, first).mean == pytest.approx(-difference.mean)


def test_the_best_is_certain_where_it_is_far_ahead_and_shared_where_it_is_not(tmp_path):
    truth = {("two_relu", "encoder"): 1.2, ("one_relu", "encoder"): 1.2, ("none", "encoder"): 0.0}
    first, second, last = panel_of(tmp_path, truth).standings
    assert first.best + second.best == pytest.approx(1, abs=0.01)
    assert min(first.best, second.best) > 0.01
    assert first.ranks == second.ranks == (1, 2)
    assert (last.group.head, last.ranks) == ("none", (3, 3))


def test_a_group_that_lacks_a_seed_has_an_interval_and_no_rank(tmp_path):
    truth = {("two_relu", "encoder"): 1.2, ("one_relu", "encoder"): 1.0}
    build(tmp_path, grid({("none", "encoder"): 0.5}, seeds=(0,)))
    panel = panel_of(tmp_path, truth)
    assert [each.group.head for each in panel.compared()] == ["two_relu", "one_relu"]
    (left,) = panel.standings[2:]
    assert left.ranks is None
    assert left.over_untrained is not None
    assert panel.difference(panel.standings[0], left) is None


def test_other_labels_or_other_images_are_not_compared(tmp_path):
    truth = {("two_relu", "encoder"): 1.2}
    build(tmp_path, grid(truth, probe__label_fraction=0.5))
    build(tmp_path, grid(truth, data="digits"), Noise(images=300))
    build(tmp_path, grid(truth))
    assert [len(panel.standings) for panel in panels(group(read(tmp_path).cells).groups)] == [1, 1, 1]


def test_without_predictions_the_records_own_intervals_stand(tmp_path):
    build(tmp_path, grid({("two_relu", "encoder"): 1.2}))
    for file in tmp_path.glob("results/*/predictions.npz"):
        file.unlink()
    (panel,) = panels(group(read(tmp_path).cells).groups)
    (standing,) = panel.standings
    assert standing.accuracy.low < standing.accuracy.mean < standing.accuracy.high
    assert standing.best is None
    assert not panel.seeds
