"""How probable it is that each of some representations is the best one.

The highest of many means is high by luck as well, so means are shrunk towards what they have in common: the truths
are taken for draws of one normal distribution whose spread the grid itself tells of (a hierarchical model; Efron and
Morris 1975, "Data analysis using Stein's estimator and its generalizations"). Before the data the share of the
variance which is noise is anything from 0 to 1 alike (the uniform shrinkage prior of Daniels 1999, "A prior for the
variance in hierarchical models"). Few seeds know little of the noise: beside them the grid's other networks are
asked, and what other grids had. Both the spread and how well the noise is known are averaged over. That a probability
of one half is right in half of the cases is simulated in ``docs/statistics.md``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simclr.evaluation.uncertainty import Matrix
from simclr.report.crossed import MeanSquares, difference_products

BORROWED = 2
"""Degrees of freedom, at most, with which networks tell of each other's noise."""
USUAL = 4
"""And with which other grids tell of it."""
USUAL_SPREAD = 0.1
"""Standard deviation there, in log odds of an accuracy, between networks of one configuration, and between what a layer
makes of them: real grids had 0.12, the simulated ones have 0.08."""
SCALES, SHARES, DRAWS = 48, 48, 4000


def chances(squares: MeanSquares) -> NDArray[np.float64]:
    """The probability that each representation has the highest mean of all, (R,), summing to 1."""
    count = len(squares.means)
    if count == 1:
        return np.ones(1)
    generator = np.random.default_rng(0)
    row, image, freedom = _covariances(squares)
    # Whatever all have in common decides nothing: contrasts alone are looked at.
    contrasts = np.linalg.svd(np.eye(count) - 1 / count)[0][:, : count - 1]
    row, image = (contrasts.T @ part @ contrasts for part in (row, image))
    noise = np.trace(row + image) / (count - 1)
    if noise <= 0:
        first = squares.means == squares.means.max()
        return first / first.sum()
    share = (np.arange(SHARES) + 0.5) / SHARES
    spread = noise * (1 - share) / share
    scales = generator.chisquare(freedom, SCALES) / freedom
    axes = [np.linalg.eigh(image + row / scale) for scale in scales]
    variances = np.maximum([values for values, _ in axes], 1e-12)
    seen = np.stack([vectors.T @ (contrasts.T @ squares.means) for _, vectors in axes])
    total = variances[:, None, :] + spread[None, :, None]
    likelihood = -0.5 * (np.log(total) + seen[:, None, :] ** 2 / total).sum(axis=2)
    weights = np.exp(likelihood - likelihood.max())
    drawn = generator.multinomial(DRAWS, (weights / weights.sum()).ravel()).reshape(weights.shape)
    wins = np.zeros(count)
    for place in np.flatnonzero(drawn.sum(axis=1)):
        kept = np.repeat(spread, drawn[place])[:, None]
        shrunk = kept / (kept + variances[place])
        luck = np.sqrt(shrunk * variances[place]) * generator.standard_normal((len(kept), count - 1))
        truths = (shrunk * seen[place] + luck) @ (contrasts @ axes[place][1]).T
        wins += np.bincount(truths.argmax(axis=1), minlength=count)
    return wins / DRAWS


def _covariances(squares: MeanSquares) -> tuple[Matrix, Matrix, float]:
    """Of the means: what rows and images make of it, (R, R) both, and the degrees of freedom of the first."""
    size = squares.rows * squares.images
    if squares.rows == 1:
        return np.zeros_like(squares.row), squares.image / size, 1.0
    degrees = squares.rows - 1
    borrowed = min(BORROWED, degrees) if len(squares.means) > 2 else 0
    usual = USUAL if squares.seeds > 1 else 0
    freedom = degrees + borrowed + usual
    row = (degrees * squares.row + borrowed * _alike(squares) + usual * _usual(squares)) / freedom
    return row / size, _positive(squares.image - squares.rest) / size, float(freedom)


def _usual(squares: MeanSquares) -> Matrix:
    """The rows' part if seeds differed as they did in other grids, and label subsets as an image's answers here."""
    same = squares.network[:, None] == squares.network[None, :]
    own = np.eye(len(same), dtype=bool)
    spread = USUAL_SPREAD**2 * (np.where(same, 1.0, 0.0) + (own if (same & ~own).any() else 0))
    rest = difference_products(squares.rest)[~own].mean() / 2
    return squares.images * np.outer(squares.slope, squares.slope) * spread + rest * own


def _alike(squares: MeanSquares) -> Matrix:
    """The rows' part if all networks were as noisy as each other, and all layers of a network."""
    row, rest = difference_products(squares.row) / 2, difference_products(squares.rest) / 2

    def mean(pairs: NDArray[np.bool_]) -> float:
        # E[MS_row] is no less than E[MS_rest].
        return float(max(row[pairs].mean(), rest[pairs].mean()))

    same = squares.network[:, None] == squares.network[None, :]
    layers = same & ~np.eye(len(same), dtype=bool)
    if not layers.any():
        return np.eye(len(same)) * mean(~same)
    of_layer = mean(layers)
    of_network = max(mean(~same) - of_layer, 0.0) if squares.networks > 1 else 0.0
    return np.eye(len(same)) * of_layer + same * of_network


def _positive(matrix: Matrix) -> Matrix:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.maximum(values, 0)) @ vectors.T
