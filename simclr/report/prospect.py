"""What more seeds would tell, where one seed tells nothing of how much they differ."""

from __future__ import annotations

import numpy as np

from simclr.evaluation.uncertainty import Uncertainty
from simclr.report.crossed import PRIOR_CAUTION, PRIOR_FREEDOM, MeanSquares

USUAL_SPREAD = 0.12
"""Standard deviation, in log odds, between networks of one configuration: what grids on digits and photographs had."""


def reach(squares: MeanSquares, seeds: int, alpha: float) -> float:
    """The difference between two networks' settings that so many seeds would just tell from noise.

    Over all pairs of networks, with Bonferroni's correction; labels and images are taken to vary as with the one seed.

    Args:
        squares: of several networks, with one seed.
        seeds: how many there would be, two at least.
        alpha: how often at least one pair may be told apart that does not differ.
    """
    networks, degrees = squares.networks, seeds - 1
    prior = max(min(PRIOR_FREEDOM, (networks - 2) * degrees), 0)
    caution = (PRIOR_CAUTION * prior + degrees) / (prior + degrees)
    apart = squares.network[:, None] != squares.network[None, :]
    now = squares.of_differences()
    labels, images = np.median(now.row[apart]), np.median(now.image[apart])
    between = 2 * (USUAL_SPREAD * np.median(squares.slope)) ** 2
    later = Uncertainty(
        np.asarray((between + labels) * caution / seeds), np.asarray(float(prior + degrees)), np.asarray(images)
    )
    return min(float(later.halves(alpha / (networks * (networks - 1) / 2))), 1.0)
