"""Pictures of a cell: pixels that show what they were given, whatever that is."""

from __future__ import annotations

import numpy as np
import pytest

from simclr.tracking import content, drawing


def test_a_loss_curve_has_room_for_a_monitor_that_looks_seldom() -> None:
    history = [{"loss": 4.0 - epoch, "contrastive_accuracy": 0.1 * epoch} for epoch in range(4)]
    without = drawing.loss_curve(history)
    history[3]["monitor/knn_accuracy"] = 0.8
    history[1]["monitor/knn_accuracy"] = float("nan")
    picture = drawing.loss_curve(history)
    assert (picture.dtype, picture.ndim, picture.shape[-1]) == (np.uint8, 3, 3)
    assert picture.shape == without.shape
    assert (picture != without).any()


def test_a_confusion_shows_an_empty_class_as_empty() -> None:
    picture = drawing.confusion([[3, 1], [0, 0]], ["cat", "dog"])
    assert picture.shape[0] == picture.shape[1]
    assert picture.std() > 0


@pytest.mark.parametrize("classes", [2, 12])
def test_a_scatter_is_the_same_each_time(classes: int) -> None:
    labels = np.arange(24) % classes
    features = labels[:, None] + np.random.default_rng(0).normal(size=(24, 5))
    names = [str(number) for number in range(classes)]
    first, second = (drawing.scatter(features, labels, names, seed=0) for _ in range(2))
    assert (first == second).all()


def test_a_scatter_of_images_without_labels_has_no_classes() -> None:
    features = np.random.default_rng(0).normal(size=(24, 5))
    picture = drawing.scatter(features, np.full(24, -1), (), seed=0)
    assert picture.shape[-1] == 3
    assert picture.std() > 0


def test_a_grid_has_both_views_of_each_pair_side_by_side() -> None:
    views = np.zeros((3, 2, 8, 8, 1), np.float32)
    views[:, 1] = 0.5
    views[2] = np.nan
    picture = drawing.view_grid(views, columns=2)
    assert picture.shape[-1] == 3
    assert {0, 128, 255} == set(np.unique(picture))
    colour = drawing.view_grid(np.ones((1, 2, 100, 100, 3), np.float32))
    assert colour.shape[1] < 120


def test_of_many_images_and_classes_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "MOST_POINTS", 60)
    labels = np.arange(4000) % 1000
    features = np.random.default_rng(0).normal(size=(4000, 5))
    picture = drawing.scatter(features, labels, [f"class {number}" for number in range(1000)], seed=0)
    few = drawing.scatter(features[:60], labels[:60] % 30, [f"class {number}" for number in range(30)], seed=0)
    assert picture.shape[0] == few.shape[0]
    assert picture.shape[1] < 1.2 * few.shape[1]  # a legend of as many lines


def record(classes: int) -> dict:
    names = [f"class {number}" for number in range(classes)]
    probe = {"classes": names, "confusion": np.ones((classes, classes), int).tolist()}
    return {"probe": {**probe, "confused": [{"true": names[1], "given": names[0], "count": 3}]}}


def test_a_matrix_of_many_classes_gives_way_to_the_pairs_that_are_mistaken_most_often() -> None:
    assert set(content.drawings(record(30), None)) == {"confusion"}
    assert set(content.drawings(record(31), None)) == {"confused"}
    assert content.drawings(record(31), None)["confused"]().std() > 0
    never = record(31)
    never["probe"]["confused"] = []
    assert content.drawings(never, None) == {}


def test_a_table_of_many_test_images_has_some_of_each_class() -> None:
    labels = np.repeat(np.arange(100), 40).astype(np.int16)
    predictions = {"trained": np.stack([labels, (labels + 1) % 100]), "labels": labels}
    names = [f"{number}.png" for number in range(len(labels))]
    table = content.table(predictions, [str(number) for number in range(100)], names)
    assert len(table.data) == content.MOST_ROWS
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.data]
    assert {row["class"] for row in rows} == {str(number) for number in range(100)}
    for row in rows:
        assert labels[int(row["image"].removesuffix(".png"))] == int(row["class"])
        assert row["trained, share right"] == 0.5
