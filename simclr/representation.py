"""What a frozen network makes of images, and what such representations are like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from simclr import network as networks
from simclr.augment import resample, resampling, two_views
from simclr.config import AugmentConfig
from simclr.data import ImageSplit

Features = NDArray[np.float32]
BATCH = 128


def extract(
    network: Any, layers: Sequence[str], split: ImageSplit, size: int, mirror: bool, centre: bool
) -> dict[str, Features]:
    """Representations of every image of a split, with batch norm in inference mode.

    Args:
        network: of :func:`simclr.network.build_network`.
        layers: names of layers and stages.
        split: N images, kept as squares with their aspect remembered.
        size: the side in pixels at which the network looks.
        mirror: whether features are averaged over the image and its mirror image.
        centre: whether it sees the largest centred square of the photograph, else the whole image squashed.

    Returns:
        By layer name, (N, D) float32.
    """
    model = networks.representations(network, layers)

    @tf.function(reduce_retracing=True)
    def look(pixels: tf.Tensor, aspect: tf.Tensor) -> dict[str, tf.Tensor]:
        views = still_view(pixels, aspect, size, centre)
        features = model(views, training=False)
        if mirror:
            mirrored = model(tf.reverse(views, [2]), training=False)
            features = {name: (features[name] + mirrored[name]) / 2 for name in features}
        return features

    batches = []
    for start in range(0, len(split.labels), BATCH):
        pixels = np.asarray(split.pixels[start : start + BATCH])
        batches.append(look(tf.constant(pixels.transpose(0, 3, 1, 2)), tf.constant(split.aspect[start : start + BATCH])))
    return {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in layers}


def still_view(pixels: tf.Tensor, aspect: tf.Tensor, size: int, centre: bool) -> tf.Tensor:
    """Images without chance: (N, C, S, S) uint8 to (N, size, size, C) float32 in [0, 1], antialiased.

    With ``centre`` the largest centred square of the photograph: its full height and 1 / aspect of its width, or the
    other way round for a tall one.
    """
    width = tf.minimum(1 / aspect, 1.0) if centre else tf.ones_like(aspect)
    height = tf.minimum(aspect, 1.0) if centre else tf.ones_like(aspect)
    source = pixels.shape[-1]
    across = resampling((1 - width) / 2, width, size, source)
    down = resampling((1 - height) / 2, height, size, source)
    return tf.transpose(resample(tf.cast(pixels, tf.float32) / 255, down, across), (0, 2, 3, 1))


def view_pairs(
    network: Any, layers: Sequence[str], split: ImageSplit, augment: AugmentConfig, size: int, seed: int
) -> dict[str, tuple[Features, Features]]:
    """Representations of two augmented views of each image of a split: by layer name, two of (N, D) float32."""
    model = networks.representations(network, layers)
    pairs: dict[str, list[Features]] = {name: [] for name in layers}
    for start in range(0, len(split.labels), BATCH):
        pixels = tf.constant(np.asarray(split.pixels[start : start + BATCH]).transpose(0, 3, 1, 2))
        aspect = tf.constant(split.aspect[start : start + BATCH])
        views = two_views(augment, pixels, aspect, size, seed, tf.constant(start, tf.int64))
        for name, features in model(views, training=False).items():
            pairs[name].append(features.numpy().reshape(2, len(pixels), -1))
    joined = {name: np.concatenate(parts, axis=1) for name, parts in pairs.items()}
    return {name: (both[0], both[1]) for name, both in joined.items()}


def alignment(first: Features, second: Features) -> float:
    """Mean squared distance between the unit features of two views of the same image, from 0 (invariant) to 4.

    Wang and Isola 2020, arXiv 2005.10242, equation 4 with exponent 2. Both are (N, D).
    """
    return float(np.mean(np.sum((_unit(first) - _unit(second)) ** 2, axis=1)))


def uniformity(features: Features) -> float:
    """log E exp(-2 |x - y|^2) over pairs of different images' unit features (N, D): the lower, the more evenly spread.

    Wang and Isola 2020, arXiv 2005.10242, equation 5; 0 where all are the same, about -4 on a large sphere.
    """
    unit = _unit(features)
    similarity = unit @ unit.T
    pairs = np.triu_indices(len(unit), 1)
    return float(np.log(np.mean(np.exp(-4 * (1 - similarity[pairs])))))


def effective_rank(features: Features) -> float:
    """How many dimensions the centred features (N, D) really use: exp of the entropy of their singular values' shares.

    Roy and Vetterli 2007, "The effective rank"; RankMe, arXiv 2210.02885.
    """
    values = np.linalg.svd(features - features.mean(axis=0), compute_uv=False)
    shares = values / max(values.sum(), 1e-12)
    return float(np.exp(-np.sum(shares * np.log(np.maximum(shares, 1e-12)))))


def _unit(features: Features) -> NDArray[np.float64]:
    features = features.astype(float)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
