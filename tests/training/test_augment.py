"""Views."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from simclr.config import AugmentConfig, Config, Decides, decisive
from simclr.training.augment import (
    LUMA,
    line_order,
    random_affine,
    random_colour,
    random_resized_crop,
    random_sigma,
    random_views,
    resample,
    resampling,
    still_view,
)
from simclr.training.documents_augment import adjust_contrast, adjust_hue, adjust_saturation
from simclr.training.randomness import uniform

SIMCLR = AugmentConfig(
    name="simclr",
    crop_area=[0.2, 1.0],
    flip=0.5,
    jitter=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    grey=0.2,
    blur=0.5,
)
PAPER = replace(SIMCLR, crop_fit="redrawn", blur_draw="uniform")
AFFINE = AugmentConfig(name="affine", rotation=15, scale=0.2, shear=0.2, shift=0.1, jitter=1, brightness=0.3, noise=0.1)
DOCUMENTS = AugmentConfig(
    name="documents", flip=0.5, jitter=0.8, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, grey=0.2
)
EVERY = pytest.mark.parametrize("config", [SIMCLR, AFFINE, DOCUMENTS], ids=lambda config: config.name)


def pictures(count: int = 6, side: int = 24, channels: int = 3) -> np.ndarray:
    """Smooth random images, (N, side, side, C) uint8."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 6, 6, channels), dtype=np.uint8)
    return coarse.repeat(side // 6, axis=1).repeat(side // 6, axis=2)


def views(
    config: AugmentConfig, images: np.ndarray, size: int = 16, seed: int = 0, step: int = 0, **more
) -> np.ndarray:
    aspect = tf.fill((len(images),), 1.5)
    found = random_views(config, line_order(images), aspect, size, seed, tf.constant(step, tf.int64), **more)
    return tf.cast(found, tf.float32).numpy()


def draws(count: int, **fixed: float):
    """Uniform numbers for a function that takes them one by one: a half, unless its position is named."""
    for position in range(24):
        yield tf.fill((count,), fixed.get(f"at_{position}", 0.5))


@EVERY
@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_two_of_each_image_with_values_from_0_to_1(config, channels):
    found = views(config, pictures(channels=channels))
    assert found.shape == (12, 16, 16, channels)
    assert found.min() >= 0
    assert found.max() <= 1
    assert np.isfinite(found).all()


@EVERY
def test_views_depend_on_seed_and_step_alone(config):
    images = pictures()
    assert (views(config, images, step=3) == views(config, images, step=3)).all()
    assert (views(config, images, step=3) != views(config, images, step=4)).any()
    assert (views(config, images, step=3, seed=1) != views(config, images, step=3)).any()


@EVERY
def test_the_two_views_of_an_image_differ(config):
    found = views(config, pictures(), step=2)
    assert (found[:6] != found[6:]).any()


@pytest.mark.parametrize("config", [SIMCLR, AFFINE], ids=lambda config: config.name)
def test_every_image_of_a_batch_has_a_draw_of_its_own(config):
    same = pictures(1).repeat(6, axis=0)
    found = views(config, same)
    assert all((found[0] != other).any() for other in found[1:])


def test_the_documents_draw_once_for_a_whole_batch():
    same = pictures(1).repeat(6, axis=0)
    found = views(DOCUMENTS, same)
    assert (found[:6] == found[0]).all()
    assert (found[6:] == found[6]).all()


@pytest.mark.parametrize("config", [SIMCLR, PAPER, AFFINE, DOCUMENTS], ids=["simclr", "paper", "affine", "documents"])
def test_views_are_the_same_under_xla(config):
    lines, aspect = line_order(pictures()), tf.fill((6,), 1.5)

    def made(step: tf.Tensor) -> tf.Tensor:
        return random_views(config, lines, aspect, 16, 0, step)

    compiled = tf.function(made, jit_compile=True)(tf.constant(5, tf.int64)).numpy()
    assert compiled == pytest.approx(made(tf.constant(5, tf.int64)).numpy(), abs=1e-5)
    assert (compiled[:6] != compiled[6:]).any()


@EVERY
def test_a_reduced_precision_changes_views_by_its_rounding_only(config):
    images = pictures()
    difference = np.abs(views(config, images, dtype=tf.bfloat16) - views(config, images))
    assert difference.mean() < 0.01


def test_nothing_asked_for_is_the_image_itself():
    images = pictures()
    assert views(AugmentConfig(name="simclr"), images, size=24) == pytest.approx(
        np.concatenate([images, images]) / 255, abs=1e-6
    )


@pytest.mark.parametrize("size", [8, 16, 24, 31])
def test_resampling_mixes_with_weights_that_add_up_to_one(size):
    matrix = resampling(tf.constant([0.0, 0.3]), tf.constant([1.0, 0.5]), size, 24).numpy()
    assert matrix.shape == (2, size, 24)
    assert matrix.sum(axis=-1) == pytest.approx(1, abs=1e-5)
    assert matrix.min() >= 0


def test_resampling_is_antialiased_as_pillows_is():
    image = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    whole = resampling(tf.zeros((1, 1)), tf.ones((1, 1)), 20, 60)
    ours = resample(line_order(image[None]), whole, whole).numpy()[0].transpose(1, 2, 0) * 255
    theirs = np.asarray(Image.fromarray(image).resize((20, 20), Image.Resampling.BILINEAR), float)
    assert np.abs(ours - theirs).max() < 2


def test_a_crop_keeps_the_aspect_of_things_in_the_photograph():
    """A square of a quarter of the area of a photograph twice as wide as high: half as wide a share as high."""
    config = AugmentConfig(name="simclr", crop_area=[0.5, 0.5], crop_aspect=[1.0, 1.0])
    ramp = np.linspace(0, 255, 96).astype(np.uint8)
    across = np.broadcast_to(ramp[None, None, :, None], (1, 96, 96, 1))
    down = np.broadcast_to(ramp[None, :, None, None], (1, 96, 96, 1))
    spans = [
        np.ptp(random_resized_crop(config, line_order(image), tf.constant([2.0]), 32, draws(2)).numpy()[0])
        for image in (across, down)
    ]
    assert spans[0] == pytest.approx(0.5, abs=0.03)
    assert spans[1] == pytest.approx(1.0, abs=0.03)


def test_a_mirrored_crop_is_the_crop_mirrored():
    image = pictures(1)
    found = [
        random_resized_crop(
            AugmentConfig(name="simclr", crop_area=[0.4, 0.4], flip=flip), line_order(image), tf.ones(1), 16, draws(2)
        ).numpy()
        for flip in (0.0, 1.0)
    ]
    assert found[1] == pytest.approx(found[0][..., ::-1], abs=1e-5)


def test_blur_takes_away_detail_and_keeps_the_mean():
    image = np.random.default_rng(0).integers(0, 256, (1, 24, 24, 3), dtype=np.uint8)
    sharp, soft = (
        views(AugmentConfig(name="simclr", blur=blur, blur_sigma=[0.05, 0.05]), image, size=24)[0] for blur in (0, 1)
    )
    assert soft.std() < 0.5 * sharp.std()
    assert soft.mean() == pytest.approx(sharp.mean(), abs=0.02)


@pytest.mark.parametrize(
    ("draw", "spread"),
    [("uniform", stats.uniform(1, 2)), ("log_uniform", stats.loguniform(1, 3))],
    ids=["uniform", "log_uniform"],
)
def test_blurs_are_spread_as_they_are_said_to_be(draw, spread):
    """A point is blurred to a Gaussian, whose variance is the blur's."""
    count, side = 1_000, 32
    point = np.zeros((1, side, side, 1), np.uint8)
    point[:, side // 2, side // 2] = 255
    config = AugmentConfig(name="simclr", blur=1, blur_sigma=[1 / side, 3 / side], blur_draw=draw)
    images, ones = line_order(point.repeat(count, axis=0)), tf.ones(count)
    found = random_resized_crop(config, images, ones, side, iter(tf.unstack(uniform((0,), (count, 7)), axis=1)))
    row = found.numpy()[:, 0].sum(axis=1)
    sigma = np.sqrt((row * (np.arange(side) - side // 2) ** 2).sum(axis=1) / row.sum(axis=1))
    assert sigma.mean() == pytest.approx(spread.mean(), abs=4 * spread.std() / np.sqrt(count))
    assert stats.kstest(sigma, spread.cdf).pvalue > 0.001
    other = {"uniform": stats.loguniform(1, 3), "log_uniform": stats.uniform(1, 2)}[draw]
    assert stats.kstest(sigma, other.cdf).pvalue < 1e-6


def test_the_papers_blur_is_of_a_tenth_of_a_pixel_to_two_of_224(composed):
    config = composed("augment=simclr").augment
    sigma = 224 * random_sigma(config, uniform((0,), (10_000,))).numpy()
    assert (sigma.min(), sigma.mean(), sigma.max()) == pytest.approx((0.1, 1.05, 2.0), abs=0.02)
    assert stats.kstest(sigma, stats.uniform(0.1, 1.9).cdf).pvalue > 0.001


def test_a_blur_of_nothing_changes_nothing():
    still = AugmentConfig(name="simclr", blur=1, blur_sigma=[0.0, 0.0], blur_draw="uniform")
    np.testing.assert_array_equal(views(still, pictures()), views(replace(still, blur=0), pictures()))


def test_no_affine_change_leaves_the_image():
    image = tf.constant(np.random.default_rng(0).random((2, 1, 16, 16)), tf.float32)
    found = random_affine(AugmentConfig(name="affine", rotation=90), image, draws(2))  # a half of each range: zero
    assert found.numpy() == pytest.approx(image.numpy(), abs=1e-5)


def test_a_quarter_turn_is_a_quarter_turn():
    image = tf.constant(np.random.default_rng(0).random((1, 1, 16, 16)), tf.float32)
    found = random_affine(AugmentConfig(name="affine", rotation=90), image, draws(1, at_0=1.0))
    assert found.numpy()[0, 0] == pytest.approx(np.rot90(image.numpy()[0, 0]), abs=1e-4)


def test_a_shift_moves_the_image_and_repeats_its_edge():
    image = tf.constant(np.random.default_rng(0).random((1, 1, 16, 16)), tf.float32)
    config = AugmentConfig(name="affine", shift=0.25)
    found = random_affine(config, image, draws(1, at_4=1.0)).numpy()[0, 0]  # rotation, two scales, shear, then x
    assert found[:, :12] == pytest.approx(image.numpy()[0, 0, :, 4:], abs=1e-4)
    assert found[:, 12:] == pytest.approx(image.numpy()[0, 0, :, -1:].repeat(4, axis=1), abs=1e-4)


def luma(image: np.ndarray) -> np.ndarray:
    """(B, 3, H, W) to (B, 1, H, W)."""
    return np.tensordot(image, LUMA, axes=([1], [0]))[:, None]


COLOUR = AugmentConfig(name="simclr", jitter=1, brightness=0.4, contrast=0.3, saturation=0.5, hue=0.1)


def test_colour_is_brightness_contrast_and_saturation_one_after_the_other():
    image = np.random.default_rng(0).random((2, 3, 8, 8)).astype(np.float32)
    found = random_colour(COLOUR, tf.constant(image), draws(2, at_1=0.9, at_2=0.2, at_3=0.8)).numpy()
    brightness, contrast, saturation = 1 + 0.4 * 0.8, 1 - 0.3 * 0.6, 1 + 0.5 * 0.6
    expected = image * brightness
    expected = contrast * expected + (1 - contrast) * luma(expected).mean(axis=(1, 2, 3), keepdims=True)
    expected = saturation * expected + (1 - saturation) * luma(expected)
    assert found == pytest.approx(expected, abs=1e-4)


def test_turning_hue_keeps_luma_and_grey():
    image = np.random.default_rng(0).random((2, 3, 8, 8)).astype(np.float32)
    config = AugmentConfig(name="simclr", jitter=1, hue=0.25)
    turned = random_colour(config, tf.constant(image), draws(2, at_4=1.0)).numpy()
    assert luma(turned) == pytest.approx(luma(image), abs=1e-3)
    assert np.abs(turned - image).max() > 0.1
    grey = np.repeat(image[:, :1], 3, axis=1)
    assert random_colour(config, tf.constant(grey), draws(2, at_4=1.0)).numpy() == pytest.approx(grey, abs=1e-3)


def test_grey_takes_all_colour_and_keeps_luma():
    image = np.random.default_rng(0).random((2, 3, 8, 8)).astype(np.float32)
    config = AugmentConfig(name="simclr", grey=1.0)
    found = random_colour(config, tf.constant(image), draws(2)).numpy()
    assert np.ptp(found, axis=1).max() < 1e-3
    assert found[:, :1] == pytest.approx(luma(image), abs=1e-3)


@pytest.mark.parametrize(("aspect", "cut"), [(2.0, (0, 12)), (0.5, (12, 0)), (1.0, (0, 0))])
def test_the_centre_is_the_largest_square_of_the_photograph(aspect, cut):
    image = pictures(1, side=48)
    found = still_view(line_order(image), tf.constant([aspect]), 24, centre=True).numpy()[0]
    part = image[0, cut[0] : 48 - cut[0], cut[1] : 48 - cut[1]]
    expected = np.asarray(Image.fromarray(part).resize((24, 24), Image.Resampling.BILINEAR), float) / 255
    inner = np.s_[2:-2, 2:-2]  # at its edge our kernel still reaches the photograph beyond the square
    assert found[inner] == pytest.approx(expected[inner], abs=0.02)


@pytest.mark.parametrize(
    ("ours", "theirs", "strengths"),
    [
        (adjust_contrast, tf.image.adjust_contrast, (0.2, 1.0, 1.8)),
        (adjust_saturation, tf.image.adjust_saturation, (0.2, 1.0, 1.8)),
        (adjust_hue, tf.image.adjust_hue, (-0.2, 0.0, 0.13, 0.2)),
    ],
    ids=["contrast", "saturation", "hue"],
)
def test_the_documents_colours_are_those_of_tf_image(ours, theirs, strengths):
    images = tf.cast(pictures(), tf.float32) / 255
    greys = tf.tile(images[..., :1], (1, 1, 1, 3))
    brighter_and_darker = tf.concat([images, greys, images + 0.8, images - 0.8, 0 * images], axis=0)
    for strength in strengths:
        found = ours(brighter_and_darker, tf.constant(strength)).numpy()
        np.testing.assert_allclose(found, theirs(brighter_and_darker, strength).numpy(), atol=1e-5)


def test_a_batchs_colour_strengths_are_tensors_as_the_views_have_them():
    images = tf.cast(pictures(), tf.float32) / 255
    changed = tf.function(lambda turn: adjust_hue(images, turn))
    np.testing.assert_allclose(changed(tf.constant(0.1)), tf.image.adjust_hue(images, 0.1), atol=1e-5)


def test_documents_views_are_made_of_flips_jitter_and_grey_only():
    images = pictures(2)
    plain = AugmentConfig(name="documents", flip=1.0)
    assert views(plain, images, size=24)[:2] == pytest.approx(images[:, :, ::-1] / 255, abs=1e-6)
    grey = AugmentConfig(name="documents", grey=1.0)
    assert np.ptp(views(grey, images, size=24), axis=-1).max() < 1e-5


SOMETIMES = st.sampled_from([0.0, 0.6])
STRENGTHS = {
    **dict.fromkeys(("jitter", "blur", "grey", "brightness", "contrast", "saturation"), SOMETIMES),
    "hue": st.sampled_from([0.0, 0.1]),
    "crop_area": st.sampled_from([[1.0, 1.0], [0.3, 1.0]]),
    "crop_aspect": st.sampled_from([[0.5, 2.0], [1.0, 1.5]]),
    "crop_fit": st.sampled_from(["clipped", "redrawn"]),
    "blur_sigma": st.sampled_from([[0.01, 0.02], [0.05, 0.1]]),
    "blur_draw": st.sampled_from(["log_uniform", "uniform"]),
}


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["simclr", "documents"]), st.fixed_dictionaries(STRENGTHS), st.fixed_dictionaries(STRENGTHS))
def test_a_setting_that_is_left_out_of_the_key_changes_no_view(name, strengths, others):
    config, images = AugmentConfig(name, **strengths), pictures(2, 12)
    key, seen = decisive(Config(augment=config), Decides.WEIGHTS), views(config, images)
    for changed, value in others.items():
        other = replace(config, **{changed: value})
        if decisive(Config(augment=other), Decides.WEIGHTS) == key:
            np.testing.assert_array_equal(views(other, images), seen)
