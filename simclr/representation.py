"""What a frozen network makes of images, and what such representations are like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from simclr import network as networks
from simclr.augment import line_order, still_view, two_views
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
    def look(lines: tf.Tensor, aspect: tf.Tensor) -> dict[str, tf.Tensor]:
        views = still_view(lines, aspect, size, centre)
        features = model(views, training=False)
        if mirror:
            mirrored = model(tf.reverse(views, [2]), training=False)
            features = {name: (features[name] + mirrored[name]) / 2 for name in features}
        return features

    batches = []
    for start in range(0, len(split.labels), BATCH):
        lines = line_order(split.pixels[start : start + BATCH])
        batches.append(look(lines, tf.constant(split.aspect[start : start + BATCH])))
    return {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in layers}


def view_pairs(
    network: Any, layers: Sequence[str], split: ImageSplit, augment: AugmentConfig, size: int, seed: int
) -> dict[str, tuple[Features, Features]]:
    """Representations of two augmented views of each image of a split: by layer name, two of (N, D) float32."""
    model = networks.representations(network, layers)
    pairs: dict[str, list[Features]] = {name: [] for name in layers}
    for start in range(0, len(split.labels), BATCH):
        lines = line_order(split.pixels[start : start + BATCH])
        aspect = tf.constant(split.aspect[start : start + BATCH])
        views = two_views(augment, lines, aspect, size, seed, tf.constant(start, tf.int64))
        for name, features in model(views, training=False).items():
            pairs[name].append(features.numpy().reshape(2, len(aspect), -1))
    joined = {name: np.concatenate(parts, axis=1) for name, parts in pairs.items()}
    return {name: (both[0], both[1]) for name, both in joined.items()}


def alignment(first: Features, second: Features) -> float:
    """Mean squared distance between the unit features of two views of the same image, from 0 (invariant) to 4.

    Wang and Isola 2020, arXiv 2005.10242, equation 4 with exponent 2. Both are (N, D).
    """
    return float(np.mean(np.sum((_unit(first) - _unit(second)) ** 2, axis=1)))


def uniformity(features: Features) -> float:
    """Log E exp(-2 |x - y|^2) over pairs of different images' unit features (N, D): the lower, the more evenly spread.

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
