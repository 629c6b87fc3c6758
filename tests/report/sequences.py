"""Grids that grow seed by seed, with a known truth: what is said of them, how often falsely, and after how many seeds.

A contender's accuracy with a seed is constructed: its true one, plus a seed's normal effect of which a share is common
to all contenders. Answers to test images are drawn around it, images being harder or easier for all and for each, and
label subsets, which are the same for all contenders of a seed, better or worse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from simclr.report.sequential import BEST, Contender, Inquiry, Question, follow

IMAGE, IMAGE_OF_CONTENDER, IMAGE_OF_SEED = 1.5, 0.4, 0.4
SUBSET, SUBSET_OF_CONTENDER = 0.2, 0.1


@dataclass(frozen=True)
class World:
    """What is true.

    Attributes:
        accuracies: of the contenders, in truth; of an untrained network and of raw pixels it is 0.5.
        spread: standard deviation of an accuracy over seeds.
        common: share of that variance that a seed gives to all contenders alike.
        noisier: by which factor the first contender's seeds spread further.
        images: in the test set.
        subsets: of the labels, for each seed.
    """

    accuracies: tuple[float, ...]
    spread: float = 0.01
    common: float = 0.0
    noisier: float = 1.0
    images: int = 1000
    subsets: int = 5


@dataclass
class Found:
    """What came of simulated grids.

    Attributes:
        wrong: share of them in which at least one thing that was said is not true.
        settled: share that was answered before the last seed.
        seeds: all that were used, of all contenders together, as a share of the full grid's.
    """

    wrong: float
    settled: float
    seeds: float


def simulate(world: World, question: Question, grids: int, seed: int = 0) -> Found:
    """Ask so many grids of a world, each as :mod:`simclr.grid.rounds` does: no seed is looked at before it is asked."""
    generator = np.random.default_rng(seed)
    ended = [asked(list(contenders(generator, world, question.seeds)), question) for _ in range(grids)]
    used = [sum(each.seeds for each in inquiry.contenders) for inquiry in ended]
    return Found(
        float(np.mean([_is_wrong(world, inquiry) for inquiry in ended])),
        float(np.mean([inquiry.settled for inquiry in ended])),
        float(np.mean(used)) / (len(world.accuracies) * question.seeds),
    )


def asked(whole: Sequence[Contender], question: Question) -> Inquiry:
    """An inquiry that is given a seed at a time, to its end."""
    given = [_first_seeds(each, 2) for each in whole]
    while (inquiry := follow(question, given)).asked:
        for place in inquiry.asked:
            given[place] = _first_seeds(whole[place], inquiry.next_seeds)
    return inquiry


def _first_seeds(contender: Contender, seeds: int) -> Contender:
    return replace(contender, answers=contender.answers[:, :seeds], networks=contender.networks[:seeds])


def contenders(generator: np.random.Generator, world: World, seeds: int) -> Iterator[Contender]:
    """All contenders of one grid of a world, with so many seeds."""
    count = len(world.accuracies)

    def normal(spread: float, *shape: int) -> NDArray[np.float32]:
        return np.float32(spread) * generator.standard_normal(shape, dtype=np.float32)

    together, alone = np.sqrt(world.common), np.sqrt(1 - world.common)
    of_seed = world.spread * (together * normal(1, 1, seeds) + alone * normal(1, count, seeds))
    hard, labels = normal(IMAGE, world.images), normal(SUBSET, seeds, world.subsets, 1)
    for place, accuracy in enumerate(world.accuracies):
        own = hard + normal(IMAGE_OF_CONTENDER, world.images)
        odds = own + normal(IMAGE_OF_SEED, seeds, world.images)
        wanted = np.clip(accuracy + of_seed[place] * (1.0 if place else world.noisier), 0.01, 0.99)
        tables = [_answers(generator, odds, wanted, labels)]
        tables += [_answers(generator, np.tile(own, (seeds, 1)), np.full(seeds, 0.5), labels) for _ in range(2)]
        networks = tuple((place, seed) for seed in range(seeds))
        yield Contender({"head": str(place)}, "images", networks, np.stack(tables))


def _answers(
    generator: np.random.Generator,
    odds: NDArray[np.float32],
    accuracies: NDArray[np.float64],
    labels: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """(K, S, n) answers whose mean over images and subsets is each seed's accuracy, in expectation over images."""
    spread = np.sqrt(IMAGE**2 + IMAGE_OF_CONTENDER**2 + IMAGE_OF_SEED**2 + SUBSET**2 + SUBSET_OF_CONTENDER**2)
    # A logistic of a normal variable is nearly one of its mean alone, flatter by this (MacKay 1992).
    base = logit(accuracies) * np.sqrt(1 + np.pi * spread**2 / 8)
    own = np.float32(SUBSET_OF_CONTENDER) * generator.standard_normal(labels.shape, dtype=np.float32)
    chances = expit(odds[:, None, :] + labels + own + base[:, None, None].astype(np.float32))
    return generator.random(chances.shape, dtype=np.float32) < chances


def _is_wrong(world: World, inquiry: Inquiry) -> bool:
    truth, smallest = world.accuracies, inquiry.question.smallest
    for each in inquiry.comparisons:
        difference = truth[each.first] - (truth[each.second] if isinstance(each.second, int) else 0.5)
        if each.above and each.above * difference <= 0:
            return True
        if not each.above and each.same(smallest) and abs(difference) > smallest:
            return True
    return inquiry.question.answer == BEST and int(np.argmax(truth)) not in inquiry.unbeaten()
