"""What representations are like: how invariant, how evenly spread, how many dimensions they use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]


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
