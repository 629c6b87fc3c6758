"""What is claimed of grids whose truth is known, who may be compared with whom, and what one seed allows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from simclr.evaluation.uncertainty import summary
from simclr.report.best import chances
from simclr.report.crossed import mean_squares
from simclr.report.groups import group
from simclr.report.records import read
from simclr.report.standing import PIXELS, UNTRAINED
from simclr.report.statistics import accuracy_interval, panels
from tests.report.constructed import Noise, build, grid
from tests.report.simulated import BASELINE, HEADS, LAYERS, NOISY, SIX, TWO, Size, draw, rates


def panel_of(root, truth, seeds=(0, 1, 2), noise=None, chance=0):
    cells = read(build(root, grid(truth, seeds), noise or Noise(), chance)).cells
    (panel,) = panels(group(cells).groups)
    return panel


@pytest.mark.parametrize("design", [LAYERS, BASELINE], ids=str)
@pytest.mark.parametrize("subsets", [5, 1])
def test_one_seed_tells_of_its_network_what_is_true(design, subsets):
    found = rates(design, Size(1, subsets), 200)
    assert np.mean(found.false) <= 0.08
    assert np.mean(found.missed) <= 0.08
    assert np.mean(found.missed_accuracy) <= 0.08


@pytest.mark.parametrize("design", [TWO, HEADS, SIX, NOISY], ids=str)
@pytest.mark.parametrize("seeds", [2, 3])
def test_equal_networks_are_seldom_told_apart(design, seeds):
    """The chance of one false difference anywhere in a grid; with more repetitions in the slow tests."""
    found = rates(design, Size(seeds, images=2000), 120)
    assert np.mean(found.false) <= 0.08
    assert np.mean(found.missed) <= 0.09


def test_a_difference_that_is_large_is_found():
    generator, size = np.random.default_rng(3), Size(3)
    found = []
    for _ in range(40):
        squares = mean_squares(draw(generator, SIX, size, np.array([1.5, 0, 0, 0, 0, 0])).answers)
        p_values = squares.of_differences().p_values(squares.means[:, None] - squares.means)
        found.append(p_values[0, 1:].max() * 15 < 0.05)
    assert np.mean(found) >= 0.8


def test_one_seed_is_the_interval_of_a_record():
    correct = np.random.default_rng(0).random((5, 300)) < 0.7
    low, high = summary(correct)["ci95"]
    found = accuracy_interval(correct[None])
    assert (found.low, found.high) == pytest.approx((low, high))


def test_the_same_answers_do_not_differ(tmp_path):
    correct = np.random.default_rng(0).random((1, 3, 5, 100)) < 0.7
    squares = mean_squares(np.repeat(correct, 2, axis=0))
    uncertainty = squares.of_differences()
    assert uncertainty.variance == pytest.approx(0)
    assert uncertainty.p_values(np.zeros((2, 2))) == pytest.approx(1)


def test_perfect_answers_still_leave_doubt():
    found = accuracy_interval(np.ones((3, 5, 50), bool))
    assert found.high == 1
    assert 0.9 < found.low < 0.95


def test_pairing_tells_more_than_two_intervals(tmp_path):
    panel = panel_of(tmp_path, {("two_relu", "encoder"): 1.0, ("none", "encoder"): 0.5}, noise=Noise(image=2.5))
    first, second = panel.standings
    difference = panel.pairs[0, 1]
    assert first.accuracy.low < second.accuracy.high
    assert difference.claimed
    assert difference.low > 0
    assert list(panel.behind()) == [(second, difference)]


def test_the_best_is_certain_where_it_is_far_ahead_and_shared_where_it_is_not(tmp_path):
    truth = {("two_relu", "encoder"): 1.2, ("one_relu", "encoder"): 1.2, ("none", "encoder"): 0.0}
    first, second, last = panel_of(tmp_path, truth).standings
    assert first.best + second.best == pytest.approx(1, abs=0.02)
    assert min(first.best, second.best) > 0.05
    assert first.ranks == second.ranks == (1, 2)
    assert (last.group.head, last.ranks) == ("none", (3, 3))


def test_a_rank_says_what_the_comparisons_leave_open(tmp_path):
    panel = panel_of(tmp_path, {("two_relu", "encoder"): 1.2, ("one_relu", "encoder"): 1.2, ("none", "encoder"): 1.0})
    for place, standing in enumerate(panel.standings):
        said = [(each.mean, pair) for pair, each in panel.pairs.items() if each.claimed and place in pair]
        above = sum((mean > 0) == (place == second) for mean, (_, second) in said)
        assert standing.ranks == (1 + above, 3 - (len(said) - above))


def test_of_equal_networks_none_is_probably_the_best():
    generator = np.random.default_rng(5)
    leaders = [chances(mean_squares(draw(generator, SIX, Size(3)).answers)).max() for _ in range(40)]
    assert np.mean(leaders) < 0.4


def test_chances_of_being_the_best_are_shared_out():
    answers = np.random.default_rng(0).random((4, 3, 5, 100)) < 0.7
    assert chances(mean_squares(answers)).sum() == pytest.approx(1)
    same = np.repeat(answers[:1], 2, axis=0)
    assert chances(mean_squares(same)) == pytest.approx([0.5, 0.5], abs=0.03)


def test_one_seed_says_nothing_of_different_networks(tmp_path):
    truth = {("two_relu", "encoder"): 2.4, ("two_relu", "projection"): 0.2, ("none", "encoder"): 0.2}
    panel = panel_of(tmp_path, truth, seeds=(0,))
    assert {each.kind for each in panel.pairs.values()} == {"layers"}
    assert all(each.best is None and each.ranks is None for each in panel.standings)
    assert [each.claimed for each in panel.pairs.values()] == [True]
    assert panel.standings[0].over[PIXELS].claimed
    assert 1 > panel.prospects[2] > panel.prospects[3] > 0


def test_layers_of_one_network_have_ranks_with_one_seed(tmp_path):
    truth = {("two_relu", "encoder"): 2.4, ("two_relu", "projection"): 0.2}
    first, second = panel_of(tmp_path, truth, seeds=(0,)).standings
    assert (first.ranks, second.ranks) == ((1, 1), (2, 2))
    assert first.best > 0.95


def test_a_family_is_all_comparisons_of_its_kind(tmp_path):
    truth = {(head, layer): 1.0 for head in ("two_relu", "one_relu") for layer in ("encoder", "projection")}
    panel = panel_of(tmp_path, truth)
    assert {each.family for each in panel.pairs.values()} == {6}
    assert {each.over[UNTRAINED].family for each in panel.standings} == {4}
    assert all(each.adjusted >= each.p for each in panel.statements())


def test_a_group_that_lacks_a_seed_has_an_interval_and_no_rank(tmp_path):
    truth = {("two_relu", "encoder"): 1.2, ("one_relu", "encoder"): 1.0}
    build(tmp_path, grid({("none", "encoder"): 0.5}, seeds=(0,)))
    panel = panel_of(tmp_path, truth)
    assert [each.group.head for each in panel.standings[: panel.compared]] == ["two_relu", "one_relu"]
    (left,) = panel.standings[2:]
    assert left.ranks is None
    assert UNTRAINED in left.over
    assert list(panel.pairs) == [(0, 1)]


def test_other_labels_or_other_images_are_not_compared(tmp_path):
    truth = {("two_relu", "encoder"): 1.2}
    build(tmp_path, grid(truth, probe__label_fraction=0.5))
    build(tmp_path, grid(truth, data="digits"), Noise(images=300))
    build(tmp_path, grid(truth))
    assert [len(panel.standings) for panel in panels(group(read(tmp_path).cells).groups)] == [1, 1, 1]


def change(root, places, changed):
    """Change the records at some places among all, in order of their names."""
    records = sorted(root.glob("results/*/result.json"))
    for place in places:
        record = json.loads(records[place].read_text())
        for path, value in changed.items():
            section, _, name = path.partition(".")
            record[section][name] = value
        records[place].write_text(json.dumps(record))


@pytest.mark.parametrize("changed", [{"data.digest": "e" * 64}, {"data.validation": 0.2}])
def test_other_images_with_the_same_labels_are_not_compared(tmp_path, changed):
    build(tmp_path, grid({("two_relu", "encoder"): 1.2, ("one_relu", "encoder"): 1.2}, seeds=(0,)))
    change(tmp_path, [0], changed)
    found = panels(group(read(tmp_path).cells).groups)
    assert [len(panel.standings) for panel in found] == [1, 1]
    assert {panel.first.part for panel in found} == ({"test"} if "data.digest" in changed else {"test", "validation"})


def test_another_precision_is_another_network(tmp_path):
    build(tmp_path, grid({("two_relu", "encoder"): 1.2}, seeds=(0, 1)))
    change(tmp_path, [1], {"pretraining.precision": "mixed_bfloat16"})
    grouped = group(read(tmp_path).cells)
    assert [each.seeds for each in grouped.groups] == [(0,), (1,)]
    assert grouped.axes == ("pretrain.precision",)


def test_without_predictions_the_records_own_intervals_stand(tmp_path):
    build(tmp_path, grid({("two_relu", "encoder"): 1.2}))
    for file in tmp_path.glob("results/*/predictions.npz"):
        file.unlink()
    (panel,) = panels(group(read(tmp_path).cells).groups)
    (standing,) = panel.standings
    assert standing.accuracy.low < standing.accuracy.mean < standing.accuracy.high
    assert standing.best is None
    assert not panel.seeds
