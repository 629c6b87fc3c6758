"""Two views of each image of a batch (SimCLR, arXiv 2002.05709, section 3 and appendix A).

Everything happens on the device, for the whole batch at once, from stateless randomness in (seed, step): a resumed run
sees the views that an uninterrupted one would have seen. Images are channels first in here, (B, C, H, W), because then
a crop is two matrix products and colour is one, without a transposition between them.
"""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf

from simclr.config import AugmentConfig

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in an image's brightness (ITU-R BT.601)."""

_TO_YIQ = (LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
_DRAWS = 24


def two_views(
    config: AugmentConfig, pixels: tf.Tensor, aspect: tf.Tensor, size: int, seed: int, step: tf.Tensor
) -> tf.Tensor:
    """Two augmented views of each image, at the side the network trains at.

    Args:
        config: strengths and probabilities; ``name: documents`` draws once for the whole batch, anything else for each
            view by itself.
        pixels: (N, C, S, S) uint8, the whole image squashed to a square.
        aspect: (N,) float32, true width / height, so that a crop has its aspect in the photograph.
        size: side of a view in pixels.
        seed: of the experiment.
        step: scalar integer, counted over the whole pretraining.

    Returns:
        (2N, size, size, C) float32 in [0, 1]; rows i and i + N are the two views of image i.
    """
    images = tf.cast(pixels, tf.float32) / 255
    if config.name == "documents":
        return _documents_views(config, images, size, seed, step)
    images = tf.concat([images, images], axis=0)
    aspect = tf.concat([aspect, aspect], axis=0)
    count, channels = images.shape[0], images.shape[1]
    stream = tf.stack([tf.cast(seed, tf.int64), tf.cast(step, tf.int64)])
    draws = iter(tf.unstack(tf.random.stateless_uniform((count, _DRAWS), stream, alg="philox"), axis=1))
    views = random_resized_crop(config, images, aspect, size, draws)
    if config.rotation or config.scale or config.shear or config.shift:
        views = random_affine(config, views, draws)
    if config.jitter or (config.grey and channels == 3):
        views = random_colour(config, views, draws)
    if config.noise:
        normal = tf.random.stateless_normal(tf.shape(views), stream + (1 << 32, 0), alg="philox")
        views += config.noise * normal
    return tf.transpose(tf.clip_by_value(views, 0.0, 1.0), (0, 2, 3, 1))


def random_resized_crop(
    config: AugmentConfig, images: tf.Tensor, aspect: tf.Tensor, size: int, draws: Iterator[tf.Tensor]
) -> tf.Tensor:
    """A rectangle of random area, aspect and place, perhaps mirrored and blurred, brought to (B, C, size, size).

    The crop's width and height in shares of the image's are w = sqrt(area * r / aspect), h = sqrt(area * aspect / r),
    where r is the crop's own aspect, so that w h = area and (w * aspect) / h = r; what would stick out is cut off.
    """
    area = _between(next(draws), *config.crop_area)
    ratio = tf.exp(_between(next(draws), *(tf.math.log(end) for end in config.crop_aspect)))
    if config.crop_area[0] == 1:  # the whole image, whatever its aspect
        width = height = tf.ones_like(area)
    else:
        width = tf.minimum(tf.sqrt(area * ratio / aspect), 1.0)
        height = tf.minimum(tf.sqrt(area * aspect / ratio), 1.0)
    mirrored = next(draws) < config.flip
    left, top = next(draws) * (1 - width), next(draws) * (1 - height)
    source = images.shape[-1]
    across = resampling(left, width, size, source, mirrored)
    down = resampling(top, height, size, source)
    if config.blur:
        sigma = size * tf.exp(_between(next(draws), *(tf.math.log(end) for end in config.blur_sigma)))
        blur = _gaussian(tf.where(next(draws) < config.blur, sigma, 1e-3), size)
        across, down = blur @ across, blur @ down
    return resample(images, down, across)


def resample(images: tf.Tensor, down: tf.Tensor, across: tf.Tensor) -> tf.Tensor:
    """Rows and columns mixed by one matrix each: (B, C, H, W), (B, h, H), (B, w, W) to (B, C, h, w)."""
    return down[:, None] @ images @ tf.transpose(across, (0, 2, 1))[:, None]


def resampling(
    start: tf.Tensor, extent: tf.Tensor, size: int, source: int, mirrored: tf.Tensor | None = None
) -> tf.Tensor:
    """The matrices (B, size, source) that bring the part [start, start + extent] of a side to ``size`` samples.

    ``start`` and ``extent`` (B,) are shares of the side. The kernel is a triangle as wide as a sample is (antialiased
    bilinear, as in Pillow), and each row adds up to one.
    """
    position = (tf.range(size, dtype=tf.float32) + 0.5) / size
    position = tf.broadcast_to(position, (tf.shape(start)[0], size))
    if mirrored is not None:
        position = tf.where(mirrored[:, None], 1 - position, position)
    centre = (start[:, None] + extent[:, None] * position) * source - 0.5
    centre = tf.clip_by_value(centre, 0.0, source - 1.0)
    reach = tf.maximum(extent * source / size, 1.0)
    distance = tf.abs(centre[:, :, None] - tf.range(source, dtype=tf.float32))
    weights = tf.nn.relu(1 - distance / reach[:, None, None])
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def random_affine(config: AugmentConfig, images: tf.Tensor, draws: Iterator[tf.Tensor]) -> tf.Tensor:
    """Small rotation, scale of each axis, shear and shift about the centre; (B, C, S, S), bilinear, edges repeated.

    The pixel at u (from the centre, in shares of the side) of a view is the image's at A u + t, with
    A = rotation(angle) [[1, shear], [0, 1]] diag(exp(scale)).
    """
    angle = _around_zero(next(draws), config.rotation * 3.141592653589793 / 180)
    wide, high = (tf.exp(_around_zero(next(draws), config.scale)) for _ in range(2))
    shear = _around_zero(next(draws), config.shear)
    shift = tf.stack([_around_zero(next(draws), config.shift) for _ in range(2)], axis=1)
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
    brightness = tf.where(jittered, 1 + _around_zero(next(draws), config.brightness), 1.0)
    contrast = tf.where(jittered, 1 + _around_zero(next(draws), config.contrast), 1.0)
    saturation = tf.where(jittered, 1 + _around_zero(next(draws), config.saturation), 1.0)
    turn = tf.where(jittered, _around_zero(next(draws), config.hue), 0.0) * 6.283185307179586
    grey = next(draws) < config.grey
    flat = tf.reshape(views, (count, channels, size * size))
    if channels == 3:
        luma = tf.constant(LUMA)[None, :, None]
        mean = tf.reduce_sum(tf.reduce_mean(flat, axis=2, keepdims=True) * luma, axis=1, keepdims=True)
        chroma = tf.where(grey, 0.0, saturation)
        matrix = (brightness * contrast)[:, None, None] * _chroma_map(chroma, turn)
        flat = matrix @ flat
    else:
        mean = tf.reduce_mean(flat, axis=(1, 2), keepdims=True)
        flat *= (brightness * contrast)[:, None, None]
    flat += (brightness * (1 - contrast))[:, None, None] * mean
    return tf.reshape(flat, (count, channels, size, size))


def _chroma_map(scale: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """The matrices (B, 3, 3) on RGB that scale chroma and turn it by an angle in radians, luma being kept."""
    to_yiq = tf.constant(_TO_YIQ)
    zero, one = tf.zeros_like(scale), tf.ones_like(scale)
    cosine, sine = scale * tf.cos(turn), scale * tf.sin(turn)
    rows = ([one, zero, zero], [zero, cosine, -sine], [zero, sine, cosine])
    rotation = tf.stack([tf.stack(row, axis=1) for row in rows], axis=1)
    return tf.linalg.inv(to_yiq) @ rotation @ to_yiq


def _bilinear(images: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Samples of (B, C, S, S) at pixel positions x, y (B, S*S), each a weighted mean of the four around it."""
    count, channels, size, _ = images.shape
    x, y = (tf.clip_by_value(place, 0.0, size - 1.0) for place in (x, y))
    left, top = tf.floor(x), tf.floor(y)
    right_share, bottom_share = (x - left)[:, None], (y - top)[:, None]
    flat = tf.reshape(images, (count, channels, size * size))

    def corner(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        row, column = (tf.minimum(tf.cast(place, tf.int32), size - 1) for place in (row, column))
        return tf.gather(flat, row * size + column, axis=2, batch_dims=1)

    above = corner(top, left) * (1 - right_share) + corner(top, left + 1) * right_share
    below = corner(top + 1, left) * (1 - right_share) + corner(top + 1, left + 1) * right_share
    return tf.reshape(above * (1 - bottom_share) + below * bottom_share, (count, channels, size, size))


def _gaussian(sigma: tf.Tensor, size: int) -> tf.Tensor:
    """Matrices (B, size, size) that blur a side with standard deviation ``sigma`` (B,) in pixels."""
    line = tf.range(size, dtype=tf.float32)
    weights = tf.exp(-(((line[:, None] - line) / sigma[:, None, None]) ** 2) / 2)
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def _documents_views(
    config: AugmentConfig, images: tf.Tensor, size: int, seed: int, step: tf.Tensor
) -> tf.Tensor:
    """The documents' two views: each augmentation drawn once for the whole batch, colours in HSV, one clip, no crop."""
    if images.shape[-1] != size:
        whole = resampling(tf.zeros(images.shape[0]), tf.ones(images.shape[0]), size, images.shape[-1])
        images = resample(images, whole, whole)
    images = tf.transpose(images, (0, 2, 3, 1))
    stream = tf.stack([tf.cast(seed, tf.int64), tf.cast(step, tf.int64)])
    streams = tf.unstack(tf.random.split(stream, 14, alg="philox"))
    return tf.concat([_documents_view(config, images, streams[:7]), _documents_view(config, images, streams[7:])], 0)


def _documents_view(config: AugmentConfig, images: tf.Tensor, streams: list[tf.Tensor]) -> tf.Tensor:
    flip, jitter, grey = (
        tf.random.stateless_uniform((), stream, alg="philox") < probability
        for stream, probability in zip(streams, (config.flip, config.jitter, config.grey), strict=False)
    )
    view = tf.where(flip, tf.reverse(images, [2]), images)
    if images.shape[-1] != 3:
        return view
    coloured = tf.image.stateless_random_brightness(view, config.brightness, streams[3])
    for change, strength, stream in (
        (tf.image.stateless_random_contrast, config.contrast, streams[4]),
        (tf.image.stateless_random_saturation, config.saturation, streams[5]),
    ):
        if strength:
            coloured = change(coloured, 1 - strength, 1 + strength, stream)
    if config.hue:
        coloured = tf.image.stateless_random_hue(coloured, config.hue, streams[6])
    view = tf.where(jitter, tf.clip_by_value(coloured, 0.0, 1.0), view)
    return tf.where(grey, tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(view)), view)


def _between(draw: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    return low + draw * (high - low)


def _around_zero(draw: tf.Tensor, reach: float) -> tf.Tensor:
    return reach * (2 * draw - 1)
