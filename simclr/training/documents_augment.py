"""The documents' two views: one draw of each augmentation for the whole batch, colours in HSV, no crop.

The colours are ``tf.image``'s, written as arithmetic: its contrast, saturation and hue are kernels of their own, and
not all of them have a deterministic form on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf

from simclr.config import AugmentConfig
from simclr.training.randomness import around_zero

LUMA = (0.2989, 0.5870, 0.1140)
"""Weights of red, green and blue in a grey image, as ``tf.image`` has them."""


def documents_views(config: AugmentConfig, images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Two views of each image of a batch.

    Args:
        config: probabilities and strengths.
        images: (N, H, W, C) float32 in [0, 1].
        draws: (14,) float32, uniform in [0, 1): seven for each view.

    Returns:
        (2N, H, W, C) float32 in [0, 1].
    """
    first, second = (iter(tf.unstack(half)) for half in tf.split(draws, 2))
    return tf.concat([_view(config, images, first), _view(config, images, second)], 0)


def _view(config: AugmentConfig, images: tf.Tensor, draws: Iterator[tf.Tensor]) -> tf.Tensor:
    flip, jitter, grey = (next(draws) < probability for probability in (config.flip, config.jitter, config.grey))
    view = tf.where(flip, tf.reverse(images, [2]), images)
    if images.shape[-1] != 3:
        return view
    coloured = view + around_zero(next(draws), config.brightness)
    coloured = adjust_contrast(coloured, 1 + around_zero(next(draws), config.contrast))
    coloured = adjust_saturation(coloured, 1 + around_zero(next(draws), config.saturation))
    coloured = adjust_hue(coloured, around_zero(next(draws), config.hue))
    view = tf.where(jitter, tf.clip_by_value(coloured, 0.0, 1.0), view)
    return tf.where(grey, tf.reduce_sum(view * tf.constant(LUMA), axis=-1, keepdims=True), view)


def adjust_contrast(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """``tf.image.adjust_contrast``: the distance of (N, H, W, 3) from each channel's mean of its image, scaled."""
    mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
    return (images - mean) * factor + mean


def adjust_saturation(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """``tf.image.adjust_saturation``: HSV's saturation of (N, H, W, 3) scaled, at most 1; hue and value stay.

    With value V = max and saturation S = (max - min) / max, a channel is x = V (1 - S k) for a k in [0, 1] of the hue
    alone, so that another saturation S' makes V - (V - x) S' / S of it. Where V is not positive S is 0.
    """
    value = tf.reduce_max(images, axis=-1, keepdims=True)
    chroma = value - tf.reduce_min(images, axis=-1, keepdims=True)
    coloured = (value > 0) & (chroma > 0)
    saturation = tf.where(coloured, chroma, 1.0) / tf.where(coloured, value, 1.0)
    wanted = tf.clip_by_value(saturation * factor, 0.0, 1.0)
    return tf.where(coloured, value - (value - images) * wanted / saturation, value)


def adjust_hue(images: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
    """``tf.image.adjust_hue``: (N, H, W, 3) turned by ``delta`` turns along the hexagon of hues; max and min stay.

    The hue h in [0, 6) says where between the six corners red, yellow, green, cyan, blue, magenta a colour is; a
    channel falls from max to min with the distance from its own corner, max - chroma clip(|h - corner| - 1, 0, 1).
    """
    red, green, blue = tf.unstack(images, axis=-1)
    largest, smallest = tf.reduce_max(images, axis=-1), tf.reduce_min(images, axis=-1)
    chroma = largest - smallest
    safe = tf.where(chroma > 0, chroma, 1.0)
    hue = tf.where(
        red == largest,
        (green - blue) / safe,
        tf.where(green == largest, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = tf.where(chroma > 0, hue, 0.0) + 6 * delta

    def channel(corner: float) -> tf.Tensor:
        around = tf.math.floormod(hue - corner + 3, 6.0) - 3  # in [-3, 3)
        return largest - chroma * tf.clip_by_value(tf.abs(around) - 1, 0.0, 1.0)

    return tf.stack([channel(0.0), channel(2.0), channel(4.0)], axis=-1)
