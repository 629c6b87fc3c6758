"""Where a random crop of an image lies: a function of uniform numbers, which no pixel is needed for.

SimCLR's crops are of a random area and a random aspect (arXiv 2002.05709, appendix A), and a large one seldom fits a
photograph that is not square. ``augment.crop_fit`` says what becomes of it:

- ``redrawn``: others are drawn until one fits, as in torchvision's RandomResizedCrop, one of the two implementations
  that the appendix names. Each crop has the area and the aspect that were asked for, and large ones are rarer.
- ``clipped``: what sticks out is cut off. Crops are larger, and as narrow or wide as the image makes them.

With areas from 0.15 to 1 and a photograph of aspect 4/3 the mean area is 0.47 redrawn and 0.55 clipped. The other
implementation, TensorFlow's sample_distorted_bounding_box, which the paper's own code calls, draws the height evenly
from those that fit, and has smaller crops than either: 0.43.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

from simclr.config import AugmentConfig
from simclr.training.randomness import between, log_between, uniform

ATTEMPTS = 10
"""Crops that are drawn until one fits, as in torchvision."""

FURTHER = 3
"""Tells the further attempts' numbers from the other ones of a step, see :data:`simclr.training.augment.NOISE`."""


class Crop(NamedTuple):
    """V crops of each of N images, (N, V) each: in shares of the image's sides, and whether it is mirrored."""

    left: tf.Tensor
    top: tf.Tensor
    width: tf.Tensor
    height: tf.Tensor
    mirrored: tf.Tensor


def chances(config: AugmentConfig, key: tuple[int | tf.Tensor, ...], views: int, count: int) -> tf.Tensor:
    """Uniform numbers for views, those of a crop first.

    Further attempts have numbers of their own. Everything else, and a crop that fits at once, is what it is without.

    Args:
        config: the crop's area, and what becomes of one that does not fit.
        key: as for :func:`.randomness.uniform`.
        views: B, in all.
        count: of the numbers that a view takes with one attempt.

    Returns:
        (B, at least ``count``) float32 in [0, 1).
    """
    numbers = uniform(key, (views, count))
    if (further := _attempts(config) - 1) == 0:
        return numbers
    return tf.concat([numbers[:, :2], uniform((*key, FURTHER), (views, 2 * further)), numbers[:, 2:]], axis=1)


def random_crop(config: AugmentConfig, aspect: tf.Tensor, draws: Iterator[tf.Tensor]) -> Crop:
    """Rectangles of random area, aspect and place.

    A crop's width and height in shares of the image's are w = sqrt(area * r / aspect), h = sqrt(area * aspect / r),
    where r is the crop's own aspect, so that w h = area and (w * aspect) / h = r.

    Args:
        config: the crop's area and aspect, what becomes of one that does not fit, the probability of a mirror image.
        aspect: (N, 1) float32, true width / height of the images.
        draws: of :func:`chances`, (N, V) each.
    """
    attempts = [(next(draws), next(draws)) for _ in range(_attempts(config))]
    mirrored, across, down = next(draws) < config.flip, next(draws), next(draws)
    if config.crop_area[0] == 1:  # the whole image, whatever its aspect
        width = height = tf.ones_like(across)
    elif len(attempts) == 1:
        width, height = (tf.minimum(side, 1.0) for side in _sides(config, aspect, *attempts[0]))
    else:
        width, height, central = _first_that_fits(config, aspect, *map(tf.stack, zip(*attempts, strict=True)))
        across, down = (tf.where(central, 0.5, place) for place in (across, down))
    return Crop(across * (1 - width), down * (1 - height), width, height, mirrored)


def _attempts(config: AugmentConfig) -> int:
    return ATTEMPTS if config.crop_fit == "redrawn" and config.crop_area[0] < 1 else 1


def _sides(
    config: AugmentConfig, aspect: tf.Tensor, area_draw: tf.Tensor, ratio_draw: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Width and height, in shares of the image's, that its area and aspect give a crop."""
    area, ratio = between(area_draw, *config.crop_area), log_between(ratio_draw, *config.crop_aspect)
    return tf.sqrt(area * ratio / aspect), tf.sqrt(area * aspect / ratio)


def _first_that_fits(
    config: AugmentConfig, aspect: tf.Tensor, area_draws: tf.Tensor, ratio_draws: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The first of A attempts, (A, N, V) uniform numbers, that fits; where none does, the largest crop in the middle.

    Returns:
        Width, height and whether none has fitted, (N, V) each.
    """
    width, height = _sides(config, aspect, area_draws, ratio_draws)
    count = width.shape[0]
    order = tf.where((width <= 1) & (height <= 1), tf.range(count)[:, None, None], count)
    first = tf.reduce_min(order, axis=0)
    chosen = tf.one_hot(first, count, axis=0)  # zeros where none fits
    nearest = tf.clip_by_value(aspect, *config.crop_aspect)
    none, widest, highest = first == count, tf.minimum(nearest / aspect, 1.0), tf.minimum(aspect / nearest, 1.0)
    return (
        tf.where(none, widest, tf.reduce_sum(chosen * width, axis=0)),
        tf.where(none, highest, tf.reduce_sum(chosen * height, axis=0)),
        none,
    )
