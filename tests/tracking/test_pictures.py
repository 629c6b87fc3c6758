"""Pictures of a cell: pixels that show what they were given, whatever that is."""

from __future__ import annotations

import numpy as np
import pytest

from simclr.tracking import pictures


def test_a_loss_curve_has_room_for_a_monitor_that_looks_seldom() -> None:
    history = [{"loss": 4.0 - epoch, "contrastive_accuracy": 0.1 * epoch} for epoch in range(4)]
    without = pictures.loss_curve(history)
    history[3]["monitor/knn_accuracy"] = 0.8
    history[1]["monitor/knn_accuracy"] = float("nan")
    picture = pictures.loss_curve(history)
    assert (picture.dtype, picture.ndim, picture.shape[-1]) == (np.uint8, 3, 3)
    assert picture.shape == without.shape
    assert (picture != without).any()


def test_a_confusion_shows_an_empty_class_as_empty() -> None:
    picture = pictures.confusion([[3, 1], [0, 0]], ["cat", "dog"])
    assert picture.shape[0] == picture.shape[1]
    assert picture.std() > 0


@pytest.mark.parametrize("classes", [2, 12])
def test_a_scatter_is_the_same_each_time(classes: int) -> None:
    labels = np.arange(24) % classes
    features = labels[:, None] + np.random.default_rng(0).normal(size=(24, 5))
    names = [str(number) for number in range(classes)]
    first, second = (pictures.scatter(features, labels, names, seed=0) for _ in range(2))
    assert (first == second).all()


def test_a_scatter_of_images_without_labels_has_no_classes() -> None:
    features = np.random.default_rng(0).normal(size=(24, 5))
    picture = pictures.scatter(features, np.full(24, -1), (), seed=0)
    assert picture.shape[-1] == 3
    assert picture.std() > 0


def test_a_grid_has_both_views_of_each_pair_side_by_side() -> None:
    views = np.zeros((3, 2, 8, 8, 1), np.float32)
    views[:, 1] = 0.5
    views[2] = np.nan
    picture = pictures.view_grid(views, columns=2)
    assert picture.shape[-1] == 3
    assert {0, 128, 255} == set(np.unique(picture))
    colour = pictures.view_grid(np.ones((1, 2, 100, 100, 3), np.float32))
    assert colour.shape[1] < 120
