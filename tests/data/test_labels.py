"""Label subsets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from simclr.config.cell import ImpossibleCell
from simclr.data.labels import drawn, draws_with_replacement, labels_per_class, stratified_subsets

LABELS = np.repeat(np.arange(3), (20, 30, 50))


@given(
    counts=st.lists(st.integers(10, 60), min_size=2, max_size=6),
    fraction=st.floats(0.1, 1),
    seed=st.integers(0, 99),
)
def test_subsets_are_stratified_and_without_repetition(counts, fraction, seed):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    for subset in stratified_subsets(labels, fraction, 3, seed):
        assert len(set(subset.tolist())) == len(subset)
        drawn = np.bincount(labels[subset], minlength=len(counts))
        assert np.abs(drawn - np.array(counts) * fraction).max() <= 0.5


def test_subsets_depend_on_the_seed_and_the_draw_alone():
    first, again = (stratified_subsets(LABELS, 0.2, 3, seed=4) for _ in range(2))
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    assert (first[0] != first[1]).any()
    assert (first[0] != stratified_subsets(LABELS, 0.2, 3, seed=5)[0]).any()


def test_more_subsets_keep_the_ones_there_were():
    few, many = (stratified_subsets(LABELS, 0.2, count, seed=0) for count in (2, 5))
    assert all((one == other).all() for one, other in zip(few, many, strict=False))


def test_all_labels_are_one_subset():
    (subset,) = stratified_subsets(LABELS, 1.0, 5, seed=0)
    assert subset.tolist() == list(range(100))


def test_a_class_left_without_an_example_is_impossible_and_says_how_many_labels_it_takes():
    why = "leaves the class 'cat' of 20 training images without an example; valid is at least 0.025"
    with pytest.raises(ImpossibleCell, match=why):
        labels_per_class(np.array([20, 30]), 0.02, ("cat", "dog"))
    assert labels_per_class(np.array([20, 30]), 0.025).tolist() == [1, 1]


def test_the_documents_draw_with_replacement():
    (draw,) = draws_with_replacement(np.zeros(1000, int), 0.5, 1, seed=0)
    assert len(draw) == 500
    assert len(set(draw.tolist())) < 450


@example([1, 1, 1, 1, 6], 3, 0)  # whose largest class has more than its share where seats go by the largest quotient
@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 200), st.integers(0, 9))
def test_what_is_drawn_for_a_picture_has_of_each_class_its_share(sizes, most, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    places = drawn(labels, most, seed)
    assert (np.diff(places) > 0).all()
    assert len(places) == min(most, len(labels))
    expected = np.array(sizes) * len(places) / len(labels)
    assert (np.abs(np.bincount(labels[places], minlength=len(sizes)) - expected) < 1).all()


def test_of_many_classes_a_few_are_drawn_for_a_picture():
    labels = np.arange(5000) % 1000
    places = drawn(labels, 60, 0, classes=10)
    assert len(np.unique(labels[places])) == 10
    assert len(places) == 50
    assert places.tolist() == drawn(labels, 60, 0, classes=10).tolist()


def test_images_without_labels_are_drawn_too():
    assert len(drawn(np.full(100, -1), 30, 0, classes=10)) == 30
