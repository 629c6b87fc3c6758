"""What representations are like: how invariant, how evenly spread, how many dimensions they use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simclr.evaluation.judgement import Features

NUMBERS = 1 << 23
"""Similarities that are in memory at a time, 64 MB of them."""
MANY = 5000
"""Images; of more, a decomposition of all their features takes longer than one of their products."""


def distances(first: Features, second: Features) -> NDArray[np.float64]:
    """The squared distance (N,) between the unit features of two views (N, D) of an image, 0 (invariant) to 4.

    Their mean is the alignment of Wang and Isola 2020, arXiv 2005.10242, equation 4 with exponent 2.
    """
    return np.asarray(np.sum((_unit(first) - _unit(second)) ** 2, axis=1))


def uniformity(features: Features) -> float:
    """Log E exp(-2 |x - y|^2) over pairs of different images' unit features (N, D): the lower, the more evenly spread.

    Wang and Isola 2020, arXiv 2005.10242, equation 5; 0 where all are the same, about -4 on a large sphere.
    """
    unit = _unit(features)
    total, at_once = 0.0, max(1, NUMBERS // len(unit))
    for start in range(0, len(unit), at_once):
        some = unit[start : start + at_once]
        closeness = np.exp(-4 * (1 - some @ unit[start:].T))
        total += float(np.triu(closeness, 1).sum())
    return float(np.log(total / (len(unit) * (len(unit) - 1) / 2)))


def effective_rank(features: Features) -> float:
    """How many dimensions the centred features (N, D) really use: exp of the entropy of their singular values' shares.

    Roy and Vetterli 2007, "The effective rank"; RankMe, arXiv 2210.02885.
    """
    values = _singular_values(features)
    shares = values / max(values.sum(), 1e-12)
    return float(np.exp(-np.sum(shares * np.log(np.maximum(shares, 1e-12)))))


def _singular_values(features: Features) -> NDArray[np.float64]:
    """Of the centred features; of many images those of their D x D products, which are added up a few at a time."""
    mean = features.mean(axis=0, dtype=float)
    if len(features) <= MANY:
        return np.asarray(np.linalg.svd(features - mean, compute_uv=False), float)
    products = np.zeros((features.shape[1],) * 2)
    for start in range(0, len(features), MANY):
        some = features[start : start + MANY] - mean
        products += some.T @ some
    return np.sqrt(np.maximum(np.linalg.eigvalsh(products), 0))


def _unit(features: Features) -> NDArray[np.float64]:
    features = features.astype(float)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
