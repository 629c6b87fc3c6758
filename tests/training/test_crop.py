"""Where random crops lie: by distribution, against their definition."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from simclr.config import AugmentConfig
from simclr.training.crop import Crop, chances, random_crop

REDRAWN = AugmentConfig(name="simclr", crop_area=[0.15, 1.0], crop_fit="redrawn", flip=0.5)
CLIPPED = replace(REDRAWN, crop_fit="clipped")
COUNT = 20_000


def crops(config: AugmentConfig, aspect: float, seed: int = 0) -> Crop:
    """20,000 crops of one image, (1, 20,000) each."""
    numbers = tf.unstack(chances(config, (seed,), COUNT, 5), axis=1)
    found = random_crop(config, tf.constant([[aspect]]), (column[None] for column in numbers))
    return Crop(*(each.numpy() for each in found))


def area_and_aspect(crop: Crop, aspect: float) -> tuple[np.ndarray, np.ndarray]:
    """Area in shares of the image, and width / height in the photograph."""
    return (crop.width * crop.height)[0], (aspect * crop.width / crop.height)[0]


def by_definition(config: AugmentConfig, aspect: float) -> tuple[np.ndarray, np.ndarray]:
    """Area and aspect of 20,000 crops of an image of height 1, as torchvision's RandomResizedCrop draws them."""
    generator = np.random.default_rng(1)

    def one() -> tuple[float, float]:
        for _ in range(10):
            area = aspect * generator.uniform(*config.crop_area)
            ratio = math.exp(generator.uniform(*np.log(config.crop_aspect)))
            width, height = math.sqrt(area * ratio), math.sqrt(area / ratio)
            if width <= aspect and height <= 1:
                return width, height
        narrowest, widest = config.crop_aspect
        if aspect < narrowest:
            return aspect, aspect / narrowest
        return (widest, 1) if aspect > widest else (aspect, 1)

    width, height = np.array([one() for _ in range(COUNT)]).T
    return (width * height / aspect).astype(np.float32), (width / height).astype(np.float32)


@pytest.mark.parametrize("aspect", [0.5, 1.0, 1.33, 2.0, 4.0])
@pytest.mark.parametrize("area", [[0.15, 1.0], [0.05, 0.35]])
def test_areas_and_aspects_of_redrawn_crops_are_spread_as_their_definition_says(aspect, area):
    config = replace(REDRAWN, crop_area=area)
    expected = by_definition(config, aspect)
    for found, defined in zip(area_and_aspect(crops(config, aspect), aspect), expected, strict=True):
        error = math.sqrt((found.var() + defined.var()) / COUNT)
        assert found.mean() == pytest.approx(defined.mean(), abs=4 * error)
        same = stats.ks_2samp(found.round(5), defined.round(5))  # the crops from the middle are all the same
        assert same.pvalue > 0.001


def test_a_photographs_crops_are_smaller_redrawn_than_cut_off():
    means = [area_and_aspect(crops(config, 1.33), 1.33)[0].mean() for config in (REDRAWN, CLIPPED)]
    assert means == pytest.approx([0.47, 0.55], abs=0.006)
    assert stats.ks_2samp(area_and_aspect(crops(CLIPPED, 1.33), 1.33)[0], by_definition(REDRAWN, 1.33)[0]).pvalue < 1e-9


@pytest.mark.parametrize("config", [REDRAWN, CLIPPED], ids=lambda config: config.crop_fit)
@pytest.mark.parametrize("aspect", [0.2, 0.75, 1.0, 1.33, 5.0])
def test_every_crop_lies_in_the_image(config, aspect):
    crop = crops(config, aspect)
    assert min(crop.left.min(), crop.top.min()) >= 0
    assert min(crop.width.min(), crop.height.min()) > 0
    assert max((crop.left + crop.width).max(), (crop.top + crop.height).max()) <= 1 + 1e-6


def test_a_redrawn_crop_has_the_area_and_the_aspect_that_were_asked_for():
    area, ratio = area_and_aspect(crops(REDRAWN, 1.33), 1.33)
    assert (area.min(), area.max()) == pytest.approx((0.15, 1.0), abs=0.02)
    assert ratio.min() >= 0.75 - 1e-5
    assert ratio.max() <= 4 / 3 + 1e-5


def test_a_crop_that_fits_at_once_is_the_one_that_would_not_be_cut_off():
    redrawn, clipped = crops(REDRAWN, 1.33), crops(CLIPPED, 1.33)
    fits = (clipped.width < 1) & (clipped.height < 1)
    assert 0.6 < fits.mean() < 0.8
    for one, other in zip(redrawn, clipped, strict=True):
        np.testing.assert_array_equal(one[fits], other[fits])
    np.testing.assert_array_equal(redrawn.mirrored, clipped.mirrored)
    assert (redrawn.width[~fits] != clipped.width[~fits]).all()


def test_where_no_attempt_fits_the_largest_crop_is_taken_from_the_middle():
    panorama = crops(replace(REDRAWN, crop_area=[0.9, 1.0]), 4.0)
    assert panorama.height == pytest.approx(1)
    assert panorama.width == pytest.approx(4 / 3 / 4)
    assert panorama.left == pytest.approx((1 - 1 / 3) / 2)
    assert panorama.top == pytest.approx(0)
    tower = crops(replace(REDRAWN, crop_area=[0.9, 1.0]), 0.25)
    assert (tower.width[0, 0], tower.height[0, 0]) == pytest.approx((1, 1 / 3))
    assert tower.top == pytest.approx(1 / 3)


def test_a_whole_image_needs_no_attempt():
    whole = replace(REDRAWN, crop_area=[1.0, 1.0])
    np.testing.assert_array_equal(chances(whole, (0,), 8, 5), chances(replace(whole, crop_fit="clipped"), (0,), 8, 5))
    assert crops(whole, 1.33).width.min() == 1
