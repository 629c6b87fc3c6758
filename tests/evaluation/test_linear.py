"""The linear probe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import log_loss

from simclr.evaluation.linear import LogisticRegression, _row_space, linear_classifier, loss_at_best_sharpness
from tests.evaluation.test_probe import PROBES, clusters


def test_fewer_images_than_features_are_solved_in_their_own_space_with_the_same_answer():
    from sklearn.linear_model import LogisticRegression as Regression

    (train, labels), (test, _) = clusters(30, dimensions=200, spread=1.0), clusters(50, 200, 1.0, seed=1)
    small, small_test = _row_space(train, test)
    assert small.shape == (30, 30)
    direct = Regression(C=0.1, tol=1e-8, max_iter=5000).fit(train, labels).predict_proba(test)
    rotated = Regression(C=0.1, tol=1e-8, max_iter=5000).fit(small, labels).predict_proba(small_test)
    assert rotated == pytest.approx(direct, abs=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_linear_probe_can_be_had_as_weights(classes):
    features, labels = clusters(90)
    known = labels < classes
    features, labels = features[known], labels[known]
    made = linear_classifier(features, labels, 4, (0.01, 0.1), 0)
    logits = (features - made.mean) / made.spread @ made.kernel + made.bias
    assert (made.kernel[:, classes:] == 0).all()
    assert (logits[:, :classes].argmax(axis=1) == PROBES[0](features, labels, features, labels, 0).train).mean() > 0.95


def test_a_feature_that_never_changes_does_no_harm():
    features, labels = clusters(60)
    with_constant = np.concatenate([features, np.full((60, 1), 7, np.float32)], axis=1)
    one, other = (PROBES[0](each, labels, each, labels, 0).test for each in (features, with_constant))
    assert (one == other).all()


def test_strength_is_chosen_inside_the_subset():
    """Pure noise in many dimensions: the strongest penalty has the least loss."""
    generator = np.random.default_rng(0)
    features, labels = generator.standard_normal((60, 100)).astype(np.float32), np.arange(60) % 2
    chosen = LogisticRegression((1e-4, 10.0))(features, labels, features, labels, 0)
    strongest = LogisticRegression((1e-4,))(features, labels, features, labels, 0)
    assert (chosen.train == strongest.train).all()


@given(st.integers(0, 1000), st.floats(0.5, 2))
def test_the_loss_at_the_best_sharpness_does_not_mind_how_sharp_the_chances_are(seed, sharpness):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, 60)
    chances = softmax(generator.standard_normal((60, 3)) + np.eye(3)[labels], axis=1)
    sharper = softmax(sharpness * np.log(chances), axis=1)
    loss = loss_at_best_sharpness(np.log(chances), labels)
    assert loss == pytest.approx(loss_at_best_sharpness(np.log(sharper), labels), abs=1e-4)
    assert loss <= log_loss(labels, chances) + 1e-6


def test_a_strong_penalty_is_chosen_where_it_is_more_accurate_though_its_chances_are_timid():
    """Few examples and many noisy copies of one signal: the plain log loss would take the weaker penalty."""
    generator = np.random.default_rng(3)
    labels = np.arange(2000) % 2
    signal = 1.5 * (2 * labels - 1)[:, None] + generator.standard_normal((2000, 1))
    features = (signal + 4 * generator.standard_normal((2000, 100))).astype(np.float32)
    chosen, weak, strong = (
        LogisticRegression(strengths)(features[:80], labels[:80], features, labels, 0).test
        for strengths in ((1e-3, 1.0), (1.0,), (1e-3,))
    )
    assert np.mean(strong == labels) > np.mean(weak == labels) + 0.03
    assert (chosen == strong).all()
