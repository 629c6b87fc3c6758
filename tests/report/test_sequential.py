"""What a grid that grows seed by seed is said to have settled: by its intervals, and how often that is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simclr.report.sequential import (
    BEATS_PIXELS,
    BEST,
    FIRST_LOOK,
    ORDER,
    Comparison,
    Contender,
    Question,
    follow,
    spent,
)
from simclr.report.verdict import Cost, said
from tests.report.sequences import World, asked, contenders, simulate

BEST_OF = Question(BEST, None, 0.01, 10)
CLEAR = World((0.6, 0.75, 0.9), images=500, subsets=2)


def drawn(world: World = CLEAR, seeds: int = 10) -> list[Contender]:
    return list(contenders(np.random.default_rng(0), world, seeds))


def given(whole: list[Contender], seeds: int) -> list[Contender]:
    return [replace(each, answers=each.answers[:, :seeds]) for each in whole]


def test_everything_is_spent_by_the_last_look_and_nothing_before_the_first():
    looks = [spent(seeds, 10) - spent(seeds - 1, 10) for seeds in range(1, 11)]
    assert looks[0] == 0
    assert sum(looks) == pytest.approx(0.05)
    assert min(looks[1:]) > 0


def test_the_first_look_is_after_two_seeds():
    inquiry = follow(BEST_OF, given(drawn(), 1))
    assert (inquiry.seeds, inquiry.asked, inquiry.next_seeds) == (0, [0, 1, 2], FIRST_LOOK)


def test_who_is_beaten_gets_no_more_seeds_and_the_best_is_named():
    inquiry = asked(drawn(), BEST_OF)
    assert inquiry.settled
    assert inquiry.unbeaten() == [2]
    assert max(each.seeds for each in inquiry.contenders) < 5


def test_seeds_that_nobody_asked_for_change_nothing():
    asked_for, all_there = asked(drawn(), BEST_OF), follow(BEST_OF, drawn())
    assert all_there.seeds == asked_for.seeds
    assert [vars(each) for each in all_there.comparisons] == [vars(each) for each in asked_for.comparisons]


def test_a_close_pair_goes_on_alone_until_the_last_seed():
    close = World((0.5, 0.8, 0.8), images=500)
    inquiry = asked(drawn(close), BEST_OF)
    assert [each.seeds for each in inquiry.contenders] == [2, 10, 10]
    assert not inquiry.settled
    assert not inquiry.asked


def test_what_is_known_is_never_forgotten():
    comparison = Comparison(0, 1)
    comparison.seen(0.04, 0.03)
    comparison.seen(0.02, 0.05)
    assert (comparison.low, comparison.high, comparison.above) == (pytest.approx(0.01), pytest.approx(0.07), 1)


def test_two_that_differ_by_less_than_matters_are_the_same():
    comparison = Comparison(0, 1)
    comparison.seen(0.001, 0.005)
    assert comparison.same(0.01)
    assert not comparison.same(0.005)
    assert not comparison.open(0.01)


def test_an_order_is_asked_where_all_else_is_equal():
    heads = drawn(World((0.6, 0.75, 0.65, 0.8), images=500))
    placed = [
        replace(each, at={"head": head, "layer": layer})
        for each, (head, layer) in zip(heads, [("a", "1"), ("b", "1"), ("a", "2"), ("b", "2")], strict=True)
    ]
    inquiry = follow(Question(ORDER, "head", 0.01, 10), placed)
    assert [(each.first, each.second) for each in inquiry.comparisons] == [(0, 1), (2, 3)]
    lines = said(inquiry, Cost(8, 40, 4))
    assert lines[0] == "answer=order by=head: settled after 1 round and 8 of 40 pretrainings"
    assert lines[1:3] == ["head at layer=1: b > a", "head at layer=2: b > a"]


def test_baselines_are_asked_of_each_by_itself():
    inquiry = asked(drawn(World((0.5, 0.8), images=500)), Question(BEATS_PIXELS, None, 0.01, 4))
    lines = said(inquiry, Cost(1, 2, 2))
    assert "above raw pixels: head=1" in lines
    assert "not told from raw pixels: head=0" in lines
    assert inquiry.contenders[1].seeds < inquiry.contenders[0].seeds == 4


def test_cells_of_other_images_are_not_compared():
    one, *others = drawn()
    inquiry = follow(BEST_OF, [replace(one, panel="others"), *others])
    assert [(each.first, each.second) for each in inquiry.comparisons] == [(1, 2)]


def test_one_that_failed_is_not_waited_for_and_stays_open():
    one, other = drawn(World((0.76, 0.76), images=500))
    inquiry = follow(BEST_OF, [replace(one, lost=True, answers=one.answers[:, :2]), replace(other)])
    assert not inquiry.asked
    assert not inquiry.settled
    assert "cells failed" in said(inquiry, Cost(1, 2, 2))[0]


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.01, 0.03])
@pytest.mark.parametrize("common", [0.0, 0.7])
@pytest.mark.parametrize(
    "world",
    [
        World((0.76,) * 2),
        World((0.76,) * 6),
        World((0.76, 0.76, 0.76, 0.78)),
        World((0.76,) * 3, images=250),
        World((0.76,) * 6, noisier=3.0),
    ],
    ids=lambda world: f"{len(world.accuracies)}-{max(world.accuracies)}-{world.images}-{world.noisier:g}",
)
def test_no_more_than_five_percent_of_what_is_said_is_wrong(world, common, spread):
    found = simulate(replace(world, common=common, spread=spread), BEST_OF, 300)
    assert found.wrong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


@pytest.mark.slow
@pytest.mark.parametrize("answer", [BEATS_PIXELS, ORDER])
def test_the_other_questions_are_answered_as_rightly(answer):
    question = Question(answer, "head" if answer == ORDER else None, 0.01, 10)
    found = simulate(World((0.5, 0.5, 0.52, 0.6), spread=0.02), question, 300)
    assert found.wrong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


@pytest.mark.slow
def test_large_differences_cost_a_part_of_the_full_grid():
    assert simulate(World((0.66, 0.7, 0.74, 0.78), spread=0.01, images=2000), BEST_OF, 100).seeds < 0.75
