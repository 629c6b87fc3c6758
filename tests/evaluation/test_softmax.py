"""Softmax regression in chunks: the minimum that scikit-learn finds, in memory that stays flat."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression as Regression

from simclr.evaluation import linear, softmax
from simclr.evaluation.linear import LogisticRegression
from simclr.evaluation.softmax import Softmax, standard_of
from tests.evaluation.test_probe import clusters


def constructed(count: int, width: int = 20, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of uneven means and spreads, and labels that they tell in part."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    truth = np.random.default_rng(99).standard_normal((classes, width))
    features = truth[labels] + 1.5 * generator.standard_normal((count, width))
    return (features * np.geomspace(0.1, 10, width) + np.linspace(-3, 30, width)).astype(np.float32), labels


def centred(kernel: np.ndarray) -> np.ndarray:
    """A shift of all classes alike says nothing: without it kernels can be compared."""
    return kernel - kernel.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("kept", [0, 1 << 20])
@pytest.mark.parametrize("strength", [0.001, 0.1])
def test_of_twenty_thousand_images_it_has_scikit_learns_coefficients(monkeypatch, strength, kept):
    monkeypatch.setattr(softmax, "NUMBERS", 3000 * (20 + 3 * 4))
    monkeypatch.setattr(softmax, "GRADIENT", 1e-6)
    monkeypatch.setattr(softmax, "KEPT", kept)
    features, labels = constructed(20_000)
    regression = Softmax(features, labels)
    made = regression.fit(strength)
    standardised = (features.astype(float) - regression.standard.mean) * regression.standard.scale
    theirs = Regression(C=strength, tol=1e-8, max_iter=10_000).fit(standardised, labels)
    np.testing.assert_allclose(centred(made.kernel), centred(theirs.coef_.T), atol=1e-3)
    given = np.concatenate(list(regression.logits(made, features))).argmax(axis=1)
    assert (given == theirs.predict(standardised)).mean() > 0.9995


def test_features_are_standardised_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(softmax, "NUMBERS", 20 * 7)
    features, _ = constructed(1003)
    found = standard_of(features)
    np.testing.assert_allclose(found.mean, features.mean(axis=0, dtype=float), rtol=1e-6)
    np.testing.assert_allclose(found.scale, 1 / features.std(axis=0, dtype=float), rtol=1e-5)


def test_a_part_of_the_images_is_fitted_as_if_there_were_no_others():
    features, labels = constructed(3000)
    places = np.arange(0, 3000, 3)
    whole, alone = Softmax(features, labels), Softmax(features[places], labels[places])
    alone.standard = whole.standard
    np.testing.assert_allclose(whole.fit(0.1, places=places).kernel, alone.fit(0.1).kernel, atol=1e-3)


def test_it_begins_where_it_is_told_and_ends_at_the_same_minimum():
    features, labels = constructed(3000)
    model = Softmax(features, labels)
    np.testing.assert_allclose(model.fit(0.1, model.fit(0.001)).kernel, model.fit(0.1).kernel, atol=0.01)


def test_memory_beyond_the_features_does_not_grow_with_them(monkeypatch):
    monkeypatch.setattr(softmax, "NUMBERS", 1 << 18)
    monkeypatch.setattr(softmax, "ITERATIONS", 3)
    monkeypatch.setattr(softmax, "KEPT", 0)
    peaks = []
    for count in (40_000, 160_000):
        features, labels = constructed(count)
        tracemalloc.start()
        Softmax(features, labels).fit(0.1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_it_can_be_had_as_weights_of_features_as_they_are(monkeypatch):
    features, labels = clusters(600, spread=1.0)
    features = np.concatenate([features * 3 + 1, np.full((600, 1), 7, np.float32)], axis=1)
    few = linear.linear_classifier(features, labels * 2, 6, (0.1,), 0)
    monkeypatch.setattr(linear, "FEW", 100)
    many = linear.linear_classifier(features, labels * 2, 6, (0.1,), 0)

    def given(made: linear.LinearClassifier) -> np.ndarray:
        standardised = (features - made.mean) / np.maximum(made.spread, 1e-7)
        return (standardised @ made.kernel + made.bias)[:, [0, 2, 4]].argmax(axis=1)

    assert (given(few) == given(many)).mean() > 0.99
    assert (many.kernel[:, [1, 3, 5]] == 0).all()


def test_a_probe_of_many_images_knows_what_one_of_few_does(monkeypatch):
    (train, labels), (test, test_labels) = clusters(600, spread=1.0), clusters(500, spread=1.0, seed=1)
    one, some = LogisticRegression((0.1,)), LogisticRegression((0.001, 0.1, 100.0))
    few = [probe(train, labels * 2 + 1, test, test_labels, 0) for probe in (one, some)]
    monkeypatch.setattr(linear, "FEW", 100)
    many = [probe(train, labels * 2 + 1, test, test_labels, 0) for probe in (one, some)]
    assert (few[0].test == many[0].test).mean() > 0.99
    assert set(many[1].test) == {1, 3, 5}
    right = [np.mean(fit.test == test_labels * 2 + 1) for fit in (few[1], many[1])]
    assert right[1] == pytest.approx(right[0], abs=0.03)
    assert many[1].validation_accuracy == pytest.approx(few[1].validation_accuracy, abs=0.1)


def repetitive(count: int = 3000, width: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Features that repeat each other, as those of a network do: a few directions have nearly all of the spread."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, count)
    hidden = np.random.default_rng(1).standard_normal((5, width))[labels] + generator.standard_normal((count, width))
    mixing = np.random.default_rng(2).standard_normal((width, width)) * np.geomspace(1, 0.003, width)[:, None]
    return (hidden @ mixing).astype(np.float32), labels


@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_features_that_repeat_each_other_take_few_looks_to_the_very_minimum(monkeypatch, strength):
    features, labels = repetitive()
    made = Softmax(features, labels)
    standard = made.standard
    looks, sums = [], made._sums
    made._sums = lambda *given: looks.append(True) or sums(*given)
    found = made.fit(strength)
    assert len(looks) < 80
    some = (features.astype(float) - standard.mean) * standard.scale
    logits = some @ found.kernel + found.bias
    rest = np.exp(logits - logits.max(axis=1, keepdims=True))
    rest = rest / rest.sum(axis=1, keepdims=True) - np.eye(5)[labels]
    assert np.abs(some.T @ rest + found.kernel / strength).max() / len(labels) < 2 * softmax.GRADIENT
    assert np.abs(rest.mean(axis=0)).max() < 2 * softmax.GRADIENT
