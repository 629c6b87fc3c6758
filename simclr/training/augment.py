"""Two views of each image of a batch (SimCLR, arXiv 2002.05709, section 3 and appendix A).

Everything happens on the device, for the whole batch at once, from randomness that (seed, step) decides: a resumed run
sees the views that an uninterrupted one would have seen.

Images come in *line order*, (N, H, C, W): a crop is then two plain matrix products, rows first for both views at once,
then columns, without a copy of the images in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from simclr.config import AugmentConfig
from simclr.training.crop import chances, random_crop
from simclr.training.documents_augment import documents_views
from simclr.training.randomness import around_zero, between, log_between, normal, uniform

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in an image's brightness (ITU-R BT.601)."""

_TO_YIQ = np.array([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)], np.float32)
_DRAWS = 24
_SHARP = 1e-3  # pixels: a standard deviation that blurs nothing
NOISE, LOCAL = 1, 2  # tell the noise's and the local views' numbers from those of two views' geometry and colours


def line_order(pixels: NDArray[np.uint8]) -> tf.Tensor:
    """Images (N, H, W, C) uint8 as the functions here take them, (N, H, C, W) uint8, on the device."""
    return tf.constant(np.ascontiguousarray(np.asarray(pixels).transpose(0, 1, 3, 2)))


def random_views(
    config: AugmentConfig,
    lines: tf.Tensor,
    aspect: tf.Tensor,
    size: int,
    seed: int,
    step: tf.Tensor,
    dtype: Any = tf.float32,
    *,
    local: bool = False,
    share: tuple[int, int] = (0, 1),
) -> tf.Tensor:
    """Two augmented views of each image, or its local views, which are of small parts (multi-crop, arXiv 2006.09882).

    Args:
        config: strengths and probabilities; ``name: documents`` draws once for the whole batch, anything else for each
            view by itself.
        lines: (N, S, C, S) uint8, the whole image squashed to a square, in line order.
        aspect: (N,) float32, true width / height, so that a crop has its aspect in the photograph.
        size: side of a view in pixels.
        seed: of the experiment.
        step: scalar integer, counted over the whole pretraining.
        dtype: of the pixels in between and of the views; what the network computes in is enough.
        local: the ``config.local_views`` further views instead of the two, of ``config.local_area`` each.
        share: (number, of): these images are that one of so many equal parts of the step's, each of which sees the
            views that it would see among all of them.

    Returns:
        (V N, size, size, C) of ``dtype`` in [0, 1], V = 2 or ``config.local_views``; rows i, i + N, .. are the views of
        image i.
    """
    if config.name == "documents":
        return tf.cast(documents_views(config, _whole(lines, size), uniform((seed, step), (14,))), dtype)
    key: tuple[int | tf.Tensor, ...] = (seed, step)
    count = 2
    if local:
        config, key, count = replace(config, crop_area=config.local_area), (*key, LOCAL), config.local_views
    draws = _own(chances(config, key, count * lines.shape[0] * share[1], _DRAWS), count, share)
    columns = iter(tf.unstack(draws, axis=1))
    views = random_resized_crop(config, lines, aspect, size, columns, dtype)
    if config.rotation or config.scale or config.shear or config.shift:
        views = random_affine(config, views, columns)
    if config.jitter or (config.grey and lines.shape[2] == 3):
        views = random_colour(config, views, columns)
    if config.noise:
        drawn = normal((*key, NOISE), (share[1] * views.shape[0], *views.shape[1:]))
        views += tf.cast(config.noise * _own(drawn, count, share), dtype)
    return tf.clip_by_value(tf.transpose(views, (0, 2, 3, 1)), tf.cast(0, dtype), tf.cast(1, dtype))


def _own(drawn: tf.Tensor, count: int, share: tuple[int, int]) -> tf.Tensor:
    """The rows of a part's images, of what was drawn for ``count`` views of all images of a step."""
    number, of = share
    if of == 1:
        return drawn
    rest = drawn.shape[1:]
    return tf.reshape(tf.reshape(drawn, (count, of, -1, *rest))[:, number], (-1, *rest))


def _whole(lines: tf.Tensor, size: int) -> tf.Tensor:
    """The whole images, (N, size, size, C) float32 in [0, 1]."""
    if lines.shape[-1] == size:
        return tf.transpose(tf.cast(lines, tf.float32) / 255, (0, 1, 3, 2))
    return still_view(lines, tf.ones(lines.shape[0]), size, centre=False)


def still_view(lines: tf.Tensor, aspect: tf.Tensor, size: int, centre: bool) -> tf.Tensor:
    """Images without chance: (N, S, C, S) uint8 to (N, size, size, C) float32 in [0, 1], antialiased.

    With ``centre`` the largest centred square of the photograph: its full height and 1 / aspect of its width, or the
    other way round for a tall one; else the whole image squashed.
    """
    width = tf.minimum(1 / aspect, 1.0) if centre else tf.ones_like(aspect)
    height = tf.minimum(aspect, 1.0) if centre else tf.ones_like(aspect)
    source = lines.shape[-1]
    across = resampling((1 - width) / 2, width, size, source)
    down = resampling((1 - height) / 2, height, size, source)
    return tf.transpose(resample(lines, down[:, None], across[:, None]), (0, 2, 3, 1))


def random_resized_crop(
    config: AugmentConfig,
    lines: tf.Tensor,
    aspect: tf.Tensor,
    size: int,
    draws: Iterator[tf.Tensor],
    dtype: Any = tf.float32,
) -> tf.Tensor:
    """Rectangles of each image, see :mod:`simclr.training.crop`, perhaps mirrored and blurred: V views, usually two.

    Args:
        config: the crop's area and aspect, the probabilities of mirror image and blur, and how strong that is.
        lines: (N, S, C, S) uint8.
        aspect: (N,) float32, true width / height.
        size: side of the views in pixels.
        draws: of :func:`simclr.training.crop.chances`, (V N,) each.
        dtype: of the pixels.

    Returns:
        (V N, C, size, size) of ``dtype``; the first N are the first view of each.
    """
    by_image = (tf.transpose(tf.reshape(draw, (-1, aspect.shape[0]))) for draw in draws)  # (N, V)
    crop = random_crop(config, aspect[:, None], by_image)
    across = resampling(crop.left, crop.width, size, lines.shape[-1], crop.mirrored)
    down = resampling(crop.top, crop.height, size, lines.shape[1])
    if config.blur:
        sigma = size * random_sigma(config, next(by_image))
        blur = _gaussian(tf.maximum(tf.where(next(by_image) < config.blur, sigma, _SHARP), _SHARP), size)
        across, down = blur @ across, blur @ down
    return resample(lines, down, across, dtype)


def random_sigma(config: AugmentConfig, draws: tf.Tensor) -> tf.Tensor:
    """Standard deviations of blurs in shares of a view's side, of uniform numbers in [0, 1).

    The paper's code draws them evenly from 0.1 to 2 pixels, and what goes with the side there is the kernel, a tenth of
    it: at the paper's 224 pixels all of the strongest blur (5.5 deviations to each side), at 32 the three pixels in its
    middle. Here the kernel is whole and sigma goes with the side. At 224 pixels that is the same; a smaller view is
    blurred as a large one is that is made small afterwards.
    """
    return (between if config.blur_draw == "uniform" else log_between)(draws, *config.blur_sigma)


def resample(lines: tf.Tensor, down: tf.Tensor, across: tf.Tensor, dtype: Any = tf.float32) -> tf.Tensor:
    """Rows and columns mixed by one matrix each, V views of every image.

    Args:
        lines: (N, H, C, W) uint8.
        down: (N, V, h, H) float32, how rows are mixed.
        across: (N, V, w, W) float32, how columns are mixed.
        dtype: of the products.

    Returns:
        (V N, C, h, w) of ``dtype``, pixels in [0, 1]; the first N are the first view of each.
    """
    _, rows, channels, columns = lines.shape
    views, height, width = down.shape[1], down.shape[2], across.shape[2]
    flat = tf.cast(tf.reshape(lines, (-1, rows, channels * columns)), dtype)
    mixed = tf.reshape(tf.cast(down / 255, dtype), (-1, views * height, rows)) @ flat
    mixed = tf.reshape(mixed, (-1, views, height * channels, columns))
    mixed = tf.matmul(mixed, tf.cast(across, dtype), transpose_b=True)
    mixed = tf.reshape(mixed, (-1, views, height, channels, width))
    return tf.reshape(tf.transpose(mixed, (1, 0, 3, 2, 4)), (-1, channels, height, width))


def resampling(
    start: tf.Tensor, extent: tf.Tensor, size: int, source: int, mirrored: tf.Tensor | None = None
) -> tf.Tensor:
    """The matrices (..., size, source) that bring the part [start, start + extent] of a side to ``size`` samples.

    ``start`` and ``extent`` (...) are shares of the side. The kernel is a triangle as wide as a sample is (antialiased
    bilinear, as in Pillow), and each row adds up to one.
    """
    position = (tf.range(size, dtype=tf.float32) + 0.5) / size
    if mirrored is not None:
        position = tf.where(mirrored[..., None], 1 - position, position)
    centre = (start[..., None] + extent[..., None] * position) * source - 0.5
    centre = tf.clip_by_value(centre, 0.0, source - 1.0)
    reach = tf.maximum(extent * source / size, 1.0)[..., None, None]
    distance = tf.abs(centre[..., None] - tf.range(source, dtype=tf.float32))
    weights = tf.nn.relu(1 - distance / reach)
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def random_affine(config: AugmentConfig, images: tf.Tensor, draws: Iterator[tf.Tensor]) -> tf.Tensor:
    """Small rotation, scale of each axis, shear and shift about the centre; (B, C, S, S), bilinear, edges repeated.

    The pixel at u (from the centre, in shares of the side) of a view is the image's at A u + t, with
    A = rotation(angle) [[1, shear], [0, 1]] diag(exp(scale)).
    """
    angle = around_zero(next(draws), math.radians(config.rotation))
    wide, high = (tf.exp(around_zero(next(draws), config.scale)) for _ in range(2))
    shear = around_zero(next(draws), config.shear)
    shift = tf.stack([around_zero(next(draws), config.shift) for _ in range(2)], axis=1)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    matrix = tf.stack(
        [
            tf.stack([cosine * wide, (cosine * shear - sine) * high], axis=1),
            tf.stack([sine * wide, (sine * shear + cosine) * high], axis=1),
        ],
        axis=1,
    )
    size = images.shape[-1]
    line = (tf.range(size, dtype=tf.float32) + 0.5) / size - 0.5
    grid = tf.stack([tf.tile(line, [size]), tf.repeat(line, size)])  # (2, S*S): x, then y
    place = (matrix @ grid + shift[:, :, None] + 0.5) * size - 0.5
    return _bilinear(images, place[:, 0], place[:, 1])


def random_colour(config: AugmentConfig, views: tf.Tensor, draws: Iterator[tf.Tensor]) -> tf.Tensor:
    """Brightness, contrast, saturation and hue jitter, then grey: one affine map of colour per image.

    With y(x) the luma, m the image's mean luma and C a map of colours that keeps luma and grey (chroma scaled by the
    saturation's factor s and turned by the hue's angle in the YIQ plane), the four are
    x -> b x,  x -> c x + (1 - c) m,  and x -> C x. They commute, since y(C x) = y(x) and C 1 = 1: so their order, which
    SimCLR draws, does not matter, and together they are x -> b (c C x + (1 - c) m). (SimCLR turns hue in HSV and clips
    after each of the four; here one clip follows at the end.) One channel has brightness and contrast only.
    """
    count, channels, size, _ = views.shape
    jittered = next(draws) < config.jitter
    brightness = tf.where(jittered, 1 + around_zero(next(draws), config.brightness), 1.0)
    contrast = tf.where(jittered, 1 + around_zero(next(draws), config.contrast), 1.0)
    saturation = tf.where(jittered, 1 + around_zero(next(draws), config.saturation), 1.0)
    turn = tf.where(jittered, around_zero(next(draws), 2 * math.pi * config.hue), 0.0)
    grey = next(draws) < config.grey
    flat = tf.reshape(views, (count, channels, size * size))
    dtype = views.dtype
    if channels == 3:
        luma = tf.constant(LUMA)[None, :, None]
        mean = tf.cast(tf.reduce_mean(flat, axis=2, keepdims=True), tf.float32)
        mean = tf.reduce_sum(mean * luma, axis=1, keepdims=True)
        chroma = tf.where(grey, 0.0, saturation)
        matrix = (brightness * contrast)[:, None, None] * _chroma_map(chroma, turn)
        flat = tf.cast(matrix, dtype) @ flat
    else:
        mean = tf.cast(tf.reduce_mean(flat, axis=(1, 2), keepdims=True), tf.float32)
        flat *= tf.cast(brightness * contrast, dtype)[:, None, None]
    flat += tf.cast((brightness * (1 - contrast))[:, None, None] * mean, dtype)
    return tf.reshape(flat, (count, channels, size, size))


def _chroma_map(scale: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """The matrices (B, 3, 3) on RGB that scale chroma and turn it by an angle in radians, luma being kept."""
    zero, one = tf.zeros_like(scale), tf.ones_like(scale)
    cosine, sine = scale * tf.cos(turn), scale * tf.sin(turn)
    rows = ([one, zero, zero], [zero, cosine, -sine], [zero, sine, cosine])
    rotation = tf.stack([tf.stack(row, axis=1) for row in rows], axis=1)
    return np.linalg.inv(_TO_YIQ) @ rotation @ _TO_YIQ


def _bilinear(images: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Samples of (B, C, S, S) at pixel positions x, y (B, S*S), each a weighted mean of the four around it."""
    count, channels, size, _ = images.shape
    x, y = (tf.clip_by_value(place, 0.0, size - 1.0) for place in (x, y))
    left, top = tf.floor(x), tf.floor(y)
    right_share, bottom_share = (tf.cast(share, images.dtype)[:, None] for share in (x - left, y - top))
    flat = tf.reshape(images, (count, channels, size * size))

    def corner(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        row, column = (tf.minimum(tf.cast(place, tf.int32), size - 1) for place in (row, column))
        return tf.gather(flat, row * size + column, axis=2, batch_dims=1)

    above = corner(top, left) * (1 - right_share) + corner(top, left + 1) * right_share
    below = corner(top + 1, left) * (1 - right_share) + corner(top + 1, left + 1) * right_share
    return tf.reshape(above * (1 - bottom_share) + below * bottom_share, (count, channels, size, size))


def _gaussian(sigma: tf.Tensor, size: int) -> tf.Tensor:
    """Matrices (..., size, size) that blur a side with standard deviation ``sigma`` (...) in pixels."""
    line = tf.range(size, dtype=tf.float32)
    weights = tf.exp(-(((line[:, None] - line) / sigma[..., None, None]) ** 2) / 2)
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)
