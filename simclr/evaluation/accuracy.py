"""An accuracy with its uncertainty: several label subsets, one finite test set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from simclr.evaluation.uncertainty import Uncertainty, two_way


def summary(correct: NDArray[np.bool_]) -> dict[str, Any]:
    """Mean accuracy with a 95 % interval that counts both the choice of labels and the choice of test images.

    ``correct`` (subsets S, images n) is a crossed design: accuracy[s, i] = mean + subset[s] + image[i] + rest[s, i].
    With the mean squares of a two-way table, E[MS_subset] = n V_subset + V_rest and E[MS_image] = S V_image + V_rest:

        Var(mean) = MS_subset / (S n) + (MS_image - MS_rest) / (S n),

    the first part with S - 1 degrees of freedom (:class:`.uncertainty.Uncertainty`). The interval is Wilson's at the
    effective sample size m (1 - m) / Var(mean), so it stays within [0, 1] and is not empty where every answer is right
    (Franco, Little, Louis and Slud 2019, "Comparative study of confidence intervals for proportions in complex
    sample surveys"). It is about one network: other seeds are not in it; and one subset tells nothing of the choice of
    labels.

    Returns:
        ``mean``, ``std`` (over subsets, 0 for one), ``ci95`` [low, high], ``values`` [one per subset], ``counts``: what
        the interval is over, ``["labels", "images"]``, or ``["images"]`` of one subset.
    """
    values = correct.mean(axis=1)
    mean = float(values.mean())
    low, high = interval(mean, of_table(correct), correct.shape[1])
    return {
        "mean": mean,
        "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        "ci95": [low, high],
        "values": [float(value) for value in values],
        "counts": ["labels", "images"] if len(values) > 1 else ["images"],
    }


def of_table(correct: NDArray[np.bool_]) -> Uncertainty:
    """The uncertainty of the mean of a table (S, n), each part a scalar array."""
    subsets, images = correct.shape
    size, found = subsets * images, two_way(correct[None].astype(float))
    row, image, rest = (part[0, 0] for part in (found.row, found.image, found.rest))
    if subsets == 1:
        return Uncertainty(np.zeros(()), np.ones(()), np.asarray(image / size))
    # The subsets' expectation is no less than the rest's: a table whose subsets agree by chance promises too much.
    return Uncertainty(
        np.asarray(max(row, rest) / size), np.asarray(subsets - 1.0), np.asarray(max(image - rest, 0.0) / size)
    )


def interval(mean: float, uncertainty: Uncertainty, images: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a mean; where nothing varies, that of so many images with one answer each."""
    variance = float(uncertainty.variance)
    size = mean * (1 - mean) / variance if variance > 0 and 0 < mean < 1 else float(images)
    quantile = float(uncertainty.halves()) / np.sqrt(variance) if variance > 0 else -ndtri(0.025)
    spread = quantile**2 / size
    centre = (mean + spread / 2) / (1 + spread)
    half = quantile / (1 + spread) * np.sqrt(mean * (1 - mean) / size + spread / (4 * size))
    # At 0 and 1 the bound is the mean itself, but for rounding.
    return float(min(max(centre - half, 0.0), mean)), float(max(min(centre + half, 1.0), mean))
