"""Stored features: which are found, and what is made of them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from simclr.report import stored
from simclr.report.records import read
from tests.report.constructed import Made, Noise, build


@pytest.fixture
def cell(tmp_path):
    build(tmp_path, [Made("two_relu", "encoder", 0, 1.0)], Noise(images=60), features=True)
    (found,) = read(tmp_path).cells
    return found


def test_the_view_that_the_probe_has_is_preferred(tmp_path, cell):
    view = stored.view_folder(tmp_path, cell)
    other = view.with_name("8px-whole")
    view.rename(other)
    assert stored.view_folder(tmp_path, cell) == other
    named = view.with_name(f"{cell.settings['probe.image_size']}px-centre-mirror")
    shutil.copytree(other, named)
    assert stored.view_folder(tmp_path, cell) == named


def test_a_layer_that_is_not_stored_or_not_finite_is_none(tmp_path, cell):
    view = stored.view_folder(tmp_path, cell)
    assert stored.load(view, "test", "relu_1").shape == (60, 256)
    assert stored.load(view, "test", "relu_9") is None
    np.save(view / "trained-encoder" / "test.npy", np.full((60, 4), np.nan, np.float32))
    assert stored.load(view, "test", "encoder") is None


def test_of_many_images_those_are_loaded_that_are_asked_for_or_evenly_some(tmp_path):
    folder = tmp_path / "trained-encoder"
    folder.mkdir()
    np.save(folder / "train.npy", np.arange(9000, dtype=np.float32)[:, None])
    some = stored.load(tmp_path, "train", "encoder")
    assert len(some) == stored.MOST_IMAGES
    assert (some[0, 0], some[-1, 0]) == (0, 8999)
    assert stored.load(tmp_path, "train", "encoder", np.array([5, 7])).tolist() == [[5], [7]]


def test_a_spectrum_is_that_of_a_singular_value_decomposition():
    points = np.random.default_rng(0).standard_normal((40, 7)).astype(np.float32)
    expected = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    for given in (points, np.hstack([points, np.zeros((40, 60), np.float32)])):
        found = stored.spectrum(given)[:7]
        assert found == pytest.approx(expected / expected[0], rel=1e-4)


def test_a_map_keeps_classes_apart_and_is_the_same_each_time():
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 2
    points = (generator.standard_normal((60, 12)) * 0.1 + np.outer(labels * 2 - 1, np.ones(12))).astype(np.float32)
    found, again = stored.flat_map(points), stored.flat_map(points)
    assert (found == again).all()
    assert found.min() >= 0
    assert found.max() <= 1
    apart = np.linalg.norm(found[labels == 0].mean(axis=0) - found[labels == 1].mean(axis=0))
    assert apart > 2 * found[labels == 0].std(axis=0).max()


def test_points_that_are_all_the_same_are_a_map_all_the_same():
    found = stored.flat_map(np.ones((20, 3), np.float32))
    assert np.isfinite(found).all()
