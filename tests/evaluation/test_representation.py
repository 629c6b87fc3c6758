"""What is said of representations."""

from __future__ import annotations

import numpy as np
import pytest

from simclr.evaluation import representation


def test_alignment_is_zero_for_invariant_features_and_four_for_opposite_ones():
    features = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    assert representation.distances(features, features * 3) == pytest.approx(0, abs=1e-9)
    assert representation.distances(features, -features) == pytest.approx(4)


def test_uniformity_is_zero_for_one_point_and_lower_the_more_spread():
    assert representation.uniformity(np.ones((10, 3), np.float32)) == pytest.approx(0)
    poles = np.array([[1, 0], [-1, 0]], np.float32)
    assert representation.uniformity(poles) == pytest.approx(-8)
    spread = np.random.default_rng(0).standard_normal((300, 64)).astype(np.float32)
    assert representation.uniformity(spread) == pytest.approx(-4, abs=0.15)


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_effective_rank_counts_equal_directions(rank):
    corners = np.concatenate([np.eye(rank), -np.eye(rank)]) @ np.eye(rank, 10)
    assert representation.effective_rank(corners.astype(np.float32)) == pytest.approx(rank, rel=1e-4)


def test_effective_rank_does_not_count_the_mean():
    constant = np.full((20, 6), 5, np.float32)
    assert representation.effective_rank(constant) == pytest.approx(1, abs=0.01)


def test_of_many_images_the_same_is_said_a_few_at_a_time(monkeypatch):
    generator = np.random.default_rng(0)
    features = (generator.standard_normal((301, 20)) * np.geomspace(1, 1e-3, 20) + 3).astype(np.float32)
    whole = representation.uniformity(features), representation.effective_rank(features)
    monkeypatch.setattr(representation, "NUMBERS", 301 * 7)
    monkeypatch.setattr(representation, "MANY", 50)
    assert (representation.uniformity(features), representation.effective_rank(features)) == pytest.approx(whole)
