"""Probes on features whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from simclr.config import ProbeConfig
from simclr.data.labels import stratified_subsets
from simclr.evaluation.linear import LogisticRegression
from simclr.evaluation.neighbours import WeightedNeighbours
from simclr.evaluation.probe import build_probe, documents_probe, evaluate, label_subsets

PROBES = [LogisticRegression((0.01, 0.1, 1.0)), WeightedNeighbours((1, 5))]


def clusters(count: int, dimensions: int = 40, spread: float = 0.3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes, each a cloud around a direction of its own."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    noise = spread * generator.standard_normal((count, dimensions))
    return (np.eye(dimensions)[labels] + noise).astype(np.float32), labels


@pytest.mark.parametrize(
    ("probe", "images"),
    [(PROBES[0], 240), (PROBES[1], 240), pytest.param(documents_probe, 4000, marks=pytest.mark.slow)],
)
def test_a_probe_finds_classes_that_are_apart(probe, images):
    train, test = clusters(images), clusters(90, seed=1)
    fit = probe(*train, *test, 0)
    assert np.mean(fit.test == test[1]) > 0.85


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_of_ours_never_looks_at_the_tests_labels(probe):
    train, test = clusters(60, spread=1.0), clusters(90, spread=1.0, seed=1)
    wrong = np.zeros_like(test[1])
    given, without = (probe(*train, test[0], labels, 0).test for labels in (test[1], wrong))
    assert (given == without).all()


@pytest.mark.parametrize("probe", PROBES)
def test_one_example_of_each_class_is_enough(probe):
    features, labels = clusters(3, dimensions=3, spread=0.01)
    fit = probe(features, labels, *clusters(30, dimensions=3, spread=0.01, seed=1), 0)
    assert fit.validation_accuracy is None
    assert (fit.test == np.arange(30) % 3).all()


@pytest.mark.parametrize("probe", PROBES)
def test_class_numbers_need_not_begin_at_zero_nor_be_complete(probe):
    features, labels = clusters(60, spread=0.1)
    fit = probe(features, labels * 2 + 1, features, labels * 2 + 1, 0)
    assert (fit.test == labels * 2 + 1).all()


def test_near_neighbours_outvote_more_numerous_far_ones():
    bank = np.array([[1, 0], [0.5, 0.9], [0.5, 0.9]], np.float32)
    query = np.array([[1, 0.05]], np.float32)
    assert WeightedNeighbours(()).classify(bank, np.array([0, 1, 1]), query, 3).tolist() == [0]


def test_more_neighbours_than_images_are_all_of_them():
    features, labels = clusters(9)
    assert WeightedNeighbours((100,)).classify(features, labels, features, 100).shape == (9,)


def test_a_record_keeps_one_value_for_each_subset():
    train, test = clusters(90), clusters(30, seed=1)
    subsets = stratified_subsets(train[1], 0.3, 4, seed=0)
    record = evaluate(PROBES[0], train, test, subsets, seed=0).record
    for part in ("test_accuracy", "validation_accuracy", "train_accuracy"):
        assert len(record[part]["values"]) == 4
    assert record["top5_accuracy"] is None  # of three classes it says nothing


def test_the_documents_probe_stops_on_the_test_loss_and_restores_its_best():
    train, test = clusters(120, spread=0.5), clusters(60, spread=0.5, seed=1)
    fit = documents_probe(*train, *test, seed=0)
    assert fit.validation_accuracy == pytest.approx(np.mean(fit.test == test[1]))


@pytest.mark.parametrize(("name", "repeats"), [("linear", False), ("knn", False), ("documents", True)])
def test_only_the_documents_draw_labels_twice(name, repeats):
    labels = np.repeat(np.arange(5), 20)
    subset = label_subsets(ProbeConfig(name=name, label_fraction=0.5), labels, seed=0)[0]
    assert len(subset) == 50
    assert (len(set(subset.tolist())) < 50) is repeats


@pytest.mark.parametrize(
    ("name", "kind"),
    [("linear", LogisticRegression), ("knn", WeightedNeighbours), ("documents", type(documents_probe))],
)
def test_a_probe_is_found_by_its_name(name, kind):
    assert isinstance(build_probe(ProbeConfig(name=name)), kind)
