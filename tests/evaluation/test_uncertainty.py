"""Accuracy and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simclr.evaluation.uncertainty import summary


@given(arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 40))))
def test_the_interval_holds_the_mean_and_stays_within_bounds(correct):
    found = summary(correct)
    low, high = found["ci95"]
    assert 0 <= low <= found["mean"] <= high <= 1
    assert found["mean"] == pytest.approx(correct.mean())
    assert len(found["values"]) == len(correct)


def test_it_is_wilsons_interval_for_one_subset_of_many_images():
    correct = np.zeros((1, 10_000), bool)
    correct[0, :7000] = True
    low, high = summary(correct)["ci95"]
    assert (low, high) == pytest.approx((0.6909, 0.7089), abs=2e-4)


def test_perfect_answers_still_leave_doubt():
    low, high = summary(np.ones((5, 50), bool))["ci95"]
    assert high == 1
    assert 0.9 < low < 0.95


def test_the_same_answers_from_every_subset_count_once():
    correct = np.random.default_rng(0).random((1, 400)) < 0.8
    one, five = summary(correct), summary(np.repeat(correct, 5, axis=0))
    assert five["ci95"] == pytest.approx(one["ci95"], abs=0.003)


@pytest.mark.parametrize(("subset_effect", "image_effect"), [(0.0, 1.0), (0.4, 1.0), (0.4, 0.0), (0.15, 2.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(subset_effect, image_effect):
    """Accuracy over new label subsets *and* new test images, in a crossed simulation whose truth is known."""
    generator = np.random.default_rng(1)

    def answers(subsets: int, images: int) -> np.ndarray:
        logits = (
            1.0
            + subset_effect * generator.standard_normal((subsets, 1))
            + image_effect * generator.standard_normal((1, images))
        )
        return generator.random((subsets, images)) < 1 / (1 + np.exp(-logits))

    truth = np.mean([answers(200, 200).mean() for _ in range(100)])
    held = [low <= truth <= high for low, high in (summary(answers(5, 250))["ci95"] for _ in range(600))]
    assert 0.92 <= np.mean(held) <= 0.995
