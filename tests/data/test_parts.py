"""A part of the images: ``data.validation``, asked in place of the test's, and ``data.train_share``, trained with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simclr.config import DataConfig
from simclr.data import catalogue, digest, load
from simclr.data.parts import positions
from tests.data.samples import Tree, encoded, picture


@pytest.fixture
def many(empty_tree: Tree) -> Tree:
    for number in range(10):
        for name in ("cat", "dog"):
            empty_tree.add(f"train/{name}_{number}.jpg", encoded(picture(seed=number)))
    empty_tree.add("test/cat_0.jpg")
    return empty_tree


def test_training_images_are_parted_by_class_and_the_test_images_left_alone(many: Tree, cache: Path) -> None:
    images = load(replace(many.config(), validation=0.3), cache)
    assert np.bincount(images.train.labels).tolist() == [7, 7]
    assert np.bincount(images.test.labels).tolist() == [3, 3]
    assert not set(images.train.paths) & set(images.test.paths)
    assert all(path.startswith("train/") for path in (*images.train.paths, *images.test.paths))


def test_the_images_are_those_that_they_are_in_the_whole(many: Tree, cache: Path) -> None:
    whole, parted = load(many.config(), cache), load(replace(many.config(), validation=0.3), cache)
    for part in (parted.train, parted.test):
        places = [whole.train.paths.index(path) for path in part.paths]
        np.testing.assert_array_equal(part.pixels, whole.train.pixels[places])
        np.testing.assert_array_equal(part.labels, whole.train.labels[places])


def test_it_is_other_data_than_the_whole_and_than_another_share(many: Tree, cache: Path) -> None:
    digests = {
        digest(catalogue(replace(many.config(), validation=share), cache), cache) for share in (0.0, 0.1, 0.2, 0.3)
    }
    assert len(digests) == 4


def test_streamed_images_are_parted_alike_and_a_change_of_any_is_found(many: Tree, cache: Path) -> None:
    parted = replace(many.config(), validation=0.3)
    kept, streamed = load(parted, cache), load(replace(parted, cache_gib=0.0), cache)
    assert streamed.test.paths == kept.test.paths
    assert streamed.digest == kept.digest
    streamed.check()
    many.add("train/cat_0.jpg", encoded(picture(seed=77)))
    with pytest.raises(Exception, match="has changed since the run began"):
        streamed.check()


def test_a_class_of_one_image_keeps_it_and_that_is_said(many: Tree, cache: Path) -> None:
    many.add("train/owl_1.jpg")
    lines: list[str] = []
    images = load(replace(many.config(), validation=0.3), cache, lines.append)
    assert images.counts == {"cat": [7, 3], "dog": [7, 3], "owl": [1, 0]}
    assert "no validation images of owl: too few to give any" in lines


def test_digits_are_parted_too(tmp_path: Path) -> None:
    whole = load(DataConfig(name="digits", image_size=8), tmp_path)
    parted = load(DataConfig(name="digits", image_size=8, validation=0.2), tmp_path)
    assert len(parted.train) + len(parted.test) == len(whole.train)
    assert len(parted.test) == pytest.approx(0.2 * len(whole.train), abs=5)
    found = catalogue(DataConfig(name="digits", image_size=8, validation=0.2), tmp_path)
    np.testing.assert_array_equal(found.train.labels, parted.train.labels)
    np.testing.assert_array_equal(found.test.labels, parted.test.labels)
    assert digest(found, tmp_path) == parted.digest != whole.digest


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
def test_every_class_has_images_on_both_sides(share: float) -> None:
    labels = np.repeat(np.arange(3, dtype=np.int32), [2, 5, 400])
    kept, held_out = positions(labels, share, 1.0)
    for side in (kept, held_out):
        assert (np.bincount(labels[side], minlength=3) >= 1).all()
    assert sorted([*kept, *held_out]) == list(range(len(labels)))
    assert (held_out == positions(labels, share, 1.0)[1]).all()


def test_a_share_of_the_training_images_is_of_each_class_and_leaves_the_test_images_alone(
    many: Tree, cache: Path
) -> None:
    whole, fewer = load(many.config(), cache), load(replace(many.config(), train_share=0.4), cache)
    assert np.bincount(fewer.train.labels).tolist() == [4, 4]
    assert fewer.test.paths == whole.test.paths
    assert set(fewer.train.paths) < set(whole.train.paths)
    streamed = load(replace(many.config(), train_share=0.4, cache_gib=0.0), cache)
    assert streamed.train.paths == fewer.train.paths
    assert streamed.digest == fewer.digest != whole.digest


def test_a_share_is_of_what_is_left_beside_the_validation_images(many: Tree, cache: Path) -> None:
    parted = load(replace(many.config(), validation=0.3, train_share=0.5), cache)
    assert parted.test.paths == load(replace(many.config(), validation=0.3), cache).test.paths
    assert np.bincount(parted.train.labels).tolist() == [4, 4]
    assert not set(parted.train.paths) & set(parted.test.paths)


def test_a_share_of_the_digits_keeps_their_test_images(tmp_path: Path) -> None:
    whole = load(DataConfig(name="digits", image_size=8), tmp_path)
    fewer = load(DataConfig(name="digits", image_size=8, train_share=0.25), tmp_path)
    assert len(fewer.train) == pytest.approx(0.25 * len(whole.train), abs=5)
    assert (fewer.test.pixels == whole.test.pixels).all()
    found = catalogue(DataConfig(name="digits", image_size=8, train_share=0.25), tmp_path)
    assert digest(found, tmp_path) == fewer.digest != whole.digest
