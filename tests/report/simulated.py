"""Grids whose truth is known, as tables of answers, and how often what is said of them is false.

Log odds of a right answer are the sum of normal effects, with spreads as real grids have them: a test image's, a
configuration's own on an image, a seed's (0.12), a seed's own on an image, a label subset's (0.2, the same for all
cells of a seed), and a layer's own. All cells are equally good in truth, so whatever is claimed is false.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from simclr.evaluation.uncertainty import interval
from simclr.report.best import chances
from simclr.report.crossed import mean_squares
from simclr.report.standing import SIGNIFICANT
from simclr.report.statistics import holm

SEED, SUBSET, SUBSET_OF_CELL = 0.12, 0.2, 0.1
IMAGE, IMAGE_OF_SETTING, IMAGE_OF_SEED, IMAGE_OF_LAYER = 1.5, 0.4, 0.4, 0.3
LAYER_OF_SEED = 0.1
POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)


@dataclass(frozen=True)
class Design:
    """What is compared, and how it is measured.

    Attributes:
        name: in the table.
        network: for each cell the number of its configuration: equal ones are layers of the same network.
        over: compared with a baseline each, not with each other.
        noisy: of the first configuration's pairs alone, whose seeds spread three times as far as the others'.
    """

    name: str
    network: tuple[int, ...]
    over: bool = False
    noisy: bool = False


@dataclass(frozen=True)
class Size:
    """How a design is measured: so many seeds, label subsets of each and test images, at so high an accuracy."""

    seeds: int
    subsets: int = 5
    images: int = 250
    accuracy: float = 0.76


@dataclass
class Rates:
    """What went wrong, over simulated grids.

    Attributes:
        false: grids with at least one false claim.
        missed: share of differences whose interval does not have the truth in it.
        missed_accuracy: share of accuracies, likewise.
    """

    false: list[bool] = field(default_factory=list)
    missed: list[float] = field(default_factory=list)
    missed_accuracy: list[float] = field(default_factory=list)


LAYERS = Design("3 layers of one network", (0, 0, 0))
BASELINE = Design("3 cells over a baseline", (0, 1, 2), over=True)
HEADS = Design("3 heads x 2 layers", (0, 0, 1, 1, 2, 2))
TWO = Design("2 networks", (0, 1))
SIX = Design("6 networks", tuple(range(6)))
NOISY = Design("6 networks, one noisier: its pairs", tuple(range(6)), noisy=True)
TWELVE = Design("12 networks", tuple(range(12)))
DESIGNS = (LAYERS, BASELINE, HEADS, TWO, SIX, NOISY, TWELVE)


@dataclass(frozen=True, eq=False)
class Drawn:
    """One grid: right or wrong (R, K, S, n), and what each cell's accuracy is in truth, (R,).

    With one seed the truth is that network's; with one subset of it, with those labels.
    """

    answers: NDArray[np.bool_]
    truth: NDArray[np.float64]


SPREADS = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Of the truths of cells, in log odds: none, small, medium and large beside the noise of three seeds."""


def over_sizes(design: Design, seeds: int, grids: int) -> list[Rates]:
    """The rates at every size of a design; of large test sets half as many grids.

    Empty where nothing is said: one seed tells nothing of networks that have a layer each.
    """
    if seeds == 1 and not design.over and len(set(design.network)) == len(design.network):
        return []
    sizes = [Size(seeds, *each) for each in product((5, 1), (250, 10_000), (0.5, 0.76, 0.97))]
    return [
        rates(design, size, grids if size.images < 1000 else grids // 2, seed=number)
        for number, size in enumerate(sizes)
    ]


def leaders(design: Design, size: Size, grids: int) -> NDArray[np.float64]:
    """For each simulated cell, (N, 3): the spread of the truths, its chance of being the best, and whether it is.

    Where all are equally good the best one is drawn by lot.
    """
    found = []
    for number, spread in enumerate(SPREADS):
        generator = np.random.default_rng(number)
        for _ in range(grids):
            advantage = spread * generator.standard_normal(len(design.network))
            said = chances(mean_squares(draw(generator, design, size, advantage).answers, design.network))
            best = advantage.argmax() if spread else generator.integers(len(advantage))
            found += [(spread, chance, place == best) for place, chance in enumerate(said)]
    return np.array(found, float)


def rates(design: Design, size: Size, grids: int, seed: int = 0) -> Rates:
    """Simulate so many grids."""
    generator, found = np.random.default_rng(seed), Rates()
    for _ in range(grids):
        _judge(design, draw(generator, design, size), found)
    return found


def draw(
    generator: np.random.Generator, design: Design, size: Size, advantage: NDArray[np.float64] | None = None
) -> Drawn:
    """A grid; of a design with baselines these come after the cells.

    Args:
        generator: of the random numbers.
        design: which cells.
        size: how they are measured.
        advantage: log odds by which each cell is better than the accuracy of ``size``, (R,).
    """
    own = np.array(design.network)
    network = np.concatenate([own, own.max() + 1 + own]) if design.over else own
    cells, seeds, subsets, images = len(network), size.seeds, size.subsets, size.images
    several_layers = len(set(design.network)) < len(design.network)

    def normal(spread: float, *shape: int) -> NDArray[np.float32]:
        return np.float32(spread) * generator.standard_normal(shape, dtype=np.float32)

    spreads = np.full((network.max() + 1, 1), 1.0, np.float32)
    spreads[0] = 3 if design.noisy else 1
    of_seed = (spreads * normal(SEED, network.max() + 1, seeds))[network]
    if several_layers:
        of_seed = of_seed + normal(LAYER_OF_SEED, cells, seeds)
    of_labels = normal(SUBSET, seeds, subsets) + normal(SUBSET_OF_CELL, cells, seeds, subsets)
    over_images = IMAGE**2 + IMAGE_OF_SETTING**2 + IMAGE_OF_SEED**2 + (IMAGE_OF_LAYER**2 if several_layers else 0)
    base = _log_odds(size.accuracy, over_images) + (np.zeros(cells) if advantage is None else advantage)
    of_image = normal(IMAGE, images) + normal(IMAGE_OF_SETTING, network.max() + 1, images)[network]
    if several_layers:
        of_image = of_image + normal(IMAGE_OF_LAYER, cells, images)
    of_seed_image = normal(IMAGE_OF_SEED, network.max() + 1, seeds, images)[network]
    answers = np.empty((cells, seeds, subsets, images), bool)
    for cell in range(cells):
        of_network = np.float32(base[cell]) + of_image[cell] + of_seed_image[cell] + of_seed[cell, :, None]
        odds = of_network[:, None, :] + of_labels[cell, :, :, None]
        answers[cell] = generator.random(odds.shape, dtype=np.float32) < expit(odds)
    return Drawn(answers, _truth(base, of_seed, of_labels, over_images, several_layers))


def _judge(design: Design, drawn: Drawn, found: Rates) -> None:
    cells = len(design.network)
    squares = mean_squares(drawn.answers[:cells], design.network)
    if design.over:
        gains = drawn.answers[:cells].astype(np.int8) - drawn.answers[cells:].astype(np.int8)
        compared = mean_squares(gains, design.network, squares.slope)
        uncertainty, errors = compared.of_means(), compared.means - (drawn.truth[:cells] - drawn.truth[cells:])
    else:
        rows, columns = _pairs(design, drawn.answers.shape[1])
        uncertainty = squares.of_differences().at((rows, columns))
        off = squares.means - drawn.truth
        errors = off[rows] - off[columns]
    found.false.append(bool((holm(uncertainty.p_values(errors)) < SIGNIFICANT).any()))
    found.missed.append(float((np.abs(errors) > uncertainty.halves()).mean()))
    own = squares.of_means()
    outside = [
        not low <= drawn.truth[cell] <= high
        for cell in range(1 if design.noisy else cells)
        for low, high in [interval(float(squares.means[cell]), own.at(cell), squares.images)]
    ]
    found.missed_accuracy.append(float(np.mean(outside)))


def _pairs(design: Design, seeds: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Those that are compared: with one seed, layers of one network alone."""
    network = np.array(design.network)
    compared = (network[:, None] == network) | (seeds > 1)
    if design.noisy:
        compared &= (network[:, None] == 0) | (network == 0)
    return np.nonzero(np.triu(compared, 1))


@cache
def _log_odds(accuracy: float, variance: float) -> float:
    """Those whose mean accuracy over normal effects of that variance is this."""
    steps = np.linspace(-1, 9, 2001)
    return float(np.interp(accuracy, _accuracy(steps, variance), steps))


def _accuracy(log_odds: NDArray[np.float64], variance: float) -> NDArray[np.float64]:
    """The mean of the logistic function over a normal variable, by Gauss-Hermite quadrature."""
    return np.asarray(expit(log_odds[..., None] + np.sqrt(variance) * POINTS) @ WEIGHTS / WEIGHTS.sum())


def _truth(
    base: NDArray[np.float64],
    of_seed: NDArray[np.float32],
    of_labels: NDArray[np.float32],
    over_images: float,
    several_layers: bool,
) -> NDArray[np.float64]:
    seeds, subsets = of_labels.shape[1:]
    labels = SUBSET**2 + SUBSET_OF_CELL**2
    if seeds > 1:
        layer = LAYER_OF_SEED**2 if several_layers else 0
        return _accuracy(base, over_images + labels + SEED**2 + layer)
    if subsets > 1:
        return _accuracy(base + of_seed[:, 0], over_images + labels)
    return _accuracy(base + of_seed[:, 0] + of_labels[:, 0, 0], over_images)
