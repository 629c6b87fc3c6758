"""What classifiers come to: accuracies, whether the true class is among the best five, which classes are confused."""

from __future__ import annotations

import numpy as np
import pytest

from simclr.evaluation.judgement import Fitted, best_classes, confused, confusion, judged

CLASSES = 30


def test_the_five_best_are_those_of_highest_score_under_their_own_names():
    scores = np.random.default_rng(0).standard_normal((40, CLASSES))
    names = np.arange(CLASSES) * 3
    expected = np.sort(names[np.argsort(-scores, axis=1)[:, :5]], axis=1)
    np.testing.assert_array_equal(np.sort(best_classes(scores, names), axis=1), expected)


def test_of_few_classes_five_say_nothing():
    assert best_classes(np.zeros((4, 19)), np.arange(19)) is None
    assert best_classes(np.zeros((4, 20)), np.arange(20)) is not None


def test_a_record_tells_both_accuracies():
    labels = np.arange(CLASSES)
    second = np.stack([(labels + shift) % CLASSES for shift in range(1, 6)], axis=1)
    first = np.stack([(labels + shift) % CLASSES for shift in range(5)], axis=1)
    fits = [Fitted(labels, np.where(labels < 10, labels, 0), 0.5, best) for best in (first, second)]
    record = judged(fits, labels, labels, [labels, labels]).record
    assert record["test_accuracy"]["mean"] == pytest.approx(10 / CLASSES)
    assert record["top5_accuracy"]["values"] == [1.0, 0.0]


def test_confusion_sums_over_subsets_and_its_rows_are_the_true_classes():
    labels = np.array([0, 1, 1, 2])
    predictions = np.array([[0, 1, 2, 2], [0, 2, 2, 0]], np.int16)
    assert confusion(predictions, labels, 3).tolist() == [[2, 0, 0], [0, 1, 3], [1, 0, 1]]


def test_the_pairs_that_are_mistaken_most_often_come_first_and_none_that_never_are():
    counts = np.array([[9, 1, 0], [0, 2, 7], [0, 0, 9]])
    assert confused(counts, ["ant", "bee", "cow"]) == [
        {"true": "bee", "given": "cow", "count": 7},
        {"true": "ant", "given": "bee", "count": 1},
    ]
    assert len(confused(np.ones((100, 100), int), list(map(str, range(100))))) == 10
