"""Nearest neighbours, a few queries at a time."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from simclr.evaluation import neighbours
from simclr.evaluation.neighbours import WeightedNeighbours, nearest_neighbours


def features(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def joined(bank: np.ndarray, queries: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    similarity, places = zip(*nearest_neighbours(bank, queries, number), strict=True)
    return np.concatenate(similarity), np.concatenate(places)


@pytest.mark.parametrize("at_once", [1, 700, 1 << 20])
def test_they_are_those_of_the_whole_matrix_the_nearest_first(monkeypatch, at_once):
    monkeypatch.setattr(neighbours, "SIMILARITIES", at_once)
    bank, queries = features(100), features(37, seed=1)
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (queries, bank)]
    whole = unit[0] @ unit[1].T
    similarity, places = joined(bank, queries, 9)
    np.testing.assert_array_equal(places, np.argsort(-whole, axis=1)[:, :9])
    np.testing.assert_allclose(similarity, -np.sort(-whole, axis=1)[:, :9], atol=1e-6)


@pytest.mark.parametrize("at_once", [100, 1 << 20])
def test_of_many_tensorflow_finds_the_same_a_few_of_both_at_a_time(monkeypatch, at_once):
    bank, queries = features(500), features(70, seed=1)
    similarity, places = joined(bank, queries, 9)
    monkeypatch.setattr(neighbours, "MANY", 0)
    monkeypatch.setattr(neighbours, "QUERIES", 20)
    monkeypatch.setattr(neighbours, "SIMILARITIES", at_once)
    again, there = joined(bank, queries, 9)
    np.testing.assert_array_equal(there, places)
    np.testing.assert_allclose(again, similarity, atol=1e-6)


def test_the_classes_with_most_votes_are_told_from_twenty_classes_on():
    labels = np.arange(300) % 25
    bank = (np.eye(25)[labels] + 0.01 * features(300, 25)).astype(np.float32)
    fit = WeightedNeighbours((3,))(bank, labels, bank[:50], labels[:50], 0)
    assert fit.best.shape == (50, 5)
    assert (fit.best == labels[:50, None]).any(axis=1).all()
    assert WeightedNeighbours((3,))(bank, labels % 19, bank[:50], labels[:50], 0).best is None


def test_of_a_small_bank_all_are_near():
    assert joined(features(3), features(5), 20)[1].shape == (5, 3)


def test_several_numbers_are_judged_as_each_would_be_alone(monkeypatch):
    monkeypatch.setattr(neighbours, "SIMILARITIES", 500)
    bank, queries, labels = features(90), features(40, seed=1), np.arange(90) % 4
    probe = WeightedNeighbours((1, 5, 20))
    together, _ = probe._votes(bank, labels, queries, probe.neighbours)
    for number, given in zip(probe.neighbours, together, strict=True):
        np.testing.assert_array_equal(given, probe.classify(bank, labels, queries, number))


def test_memory_does_not_grow_with_the_queries():
    bank, labels = features(20_000, 8), np.arange(20_000) % 5
    peaks = []
    for count in (2_000, 8_000):
        queries = features(count, 8, seed=1)
        tracemalloc.start()
        WeightedNeighbours(()).classify(bank, labels, queries, 20)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
