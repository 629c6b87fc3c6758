"""An accuracy with its uncertainty: several label subsets, one finite test set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def summary(correct: NDArray[np.bool_], confidence: float = 0.95) -> dict[str, Any]:
    """Mean accuracy with an interval that counts both the choice of labels and the choice of test images.

    ``correct`` (subsets S, images n) is a crossed design: accuracy[s, i] = mean + subset[s] + image[i] + rest[s, i].
    With the mean squares of a two-way table, E[MS_subset] = n V_subset + V_rest and E[MS_image] = S V_image + V_rest:

        Var(mean) = V_subset / S + V_image / n + V_rest / (S n) = (MS_subset + MS_image - MS_rest) / (S n).

    The interval is Wilson's at the effective sample size m (1 - m) / Var(mean) with Student's quantile at
    Satterthwaite's degrees of freedom, so it stays within [0, 1] and is not empty where every answer is right
    (Franco, Little, Louis and Slud 2019, "Comparative study of confidence intervals for proportions in complex
    sample surveys").

    Returns:
        ``mean``, ``std`` (over subsets, 0 for one), ``ci95`` [low, high], ``values`` [one per subset].
    """
    values = correct.mean(axis=1)
    mean = float(values.mean())
    low, high = wilson(mean, *_effective_size(correct), confidence)
    return {
        "mean": mean,
        "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        "ci95": [low, high],
        "values": [float(value) for value in values],
    }


def _effective_size(correct: NDArray[np.bool_]) -> tuple[float, float]:
    """The number of independent answers that would leave the same variance, and its degrees of freedom."""
    subsets, images = correct.shape
    mean = correct.mean()
    if images < 2 or mean in (0, 1):
        return float(images), float(max(images - 1, 1))
    by_subset, by_image = correct.mean(axis=1), correct.mean(axis=0)
    image_square = subsets * by_image.var(ddof=1)
    if subsets == 1:
        return float(mean * (1 - mean) / (image_square / images)), float(images - 1)
    subset_square = images * by_subset.var(ddof=1)
    rest = correct - by_subset[:, None] - by_image[None, :] + mean
    rest_square = (rest**2).sum() / ((subsets - 1) * (images - 1))
    # A variance component cannot be negative: without the bounds a lucky table would give too short an interval.
    subset_part = max(subset_square - rest_square, 0.0)
    image_part = max(image_square - rest_square, 0.0)
    total = subset_part + image_part + rest_square
    freedom = total**2 / (
        subset_part**2 / (subsets - 1) + image_part**2 / (images - 1) + rest_square**2 / ((subsets - 1) * (images - 1))
    )
    return float(mean * (1 - mean) * subsets * images / total), float(freedom)


def wilson(mean: float, size: float, freedom: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for a mean of ``size`` independent answers, with Student's quantile at ``freedom``."""
    quantile = stats.t.ppf(0.5 + confidence / 2, freedom)
    spread = quantile**2 / size
    centre = (mean + spread / 2) / (1 + spread)
    half = quantile / (1 + spread) * np.sqrt(mean * (1 - mean) / size + spread / (4 * size))
    # At 0 and 1 the bound is the mean itself, but for rounding.
    return float(min(max(centre - half, 0.0), mean)), float(max(min(centre + half, 1.0), mean))
