"""``seeds=auto`` on simulated grids whose truth is known: how often it says something false, and what it saves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from simclr.report.sequential import BEATS_PIXELS, BEST, ORDER, Question
from tests.report.sequences import World, simulate

GRIDS = 400
EQUAL = (0.76,)
WORLDS = (
    ("2 equal", World(EQUAL * 2)),
    ("4 equal", World(EQUAL * 4)),
    ("9 equal", World(EQUAL * 9)),
    ("2, one better by 0.02", World((*EQUAL, 0.78))),
    ("4, one better by 0.02", World((*EQUAL * 3, 0.78))),
    ("4 in steps of 0.04", World((0.66, 0.70, 0.74, 0.78))),
    ("9 from 0.60 to 0.76", World((0.60, 0.60, 0.62, 0.64, 0.66, 0.70, 0.74, 0.75, 0.76))),
)
SPREADS = (0.01, 0.03, 0.06)


def measure() -> Iterator[tuple[str, str]]:
    """Percent of grids with something false, percent answered, and pretrainings as a share of the full grid's."""
    best = Question(BEST, None, 0.01, 10)
    for name, world in WORLDS:
        for spread in SPREADS:
            yield _line(f"{name}, spread {spread:g}", replace(world, spread=spread), best)
    usual = World((0.66, 0.70, 0.74, 0.78), spread=0.02)
    yield _line("4 in steps of 0.04, spread 0.03, 0.7 of it common", replace(usual, spread=0.03, common=0.7), best)
    yield _line("4 equal, spread 0.03, 0.7 of it common", World(EQUAL * 4, spread=0.03, common=0.7), best)
    yield _line("6 equal, spread 0.03, one three times as noisy", World(EQUAL * 6, spread=0.03, noisier=3.0), best)
    for images in (250, 10_000):
        yield _line(f"4 in steps of 0.04, spread 0.02, {images} images", replace(usual, images=images), best)
    alike = World(EQUAL * 3, spread=0.005, images=10_000)
    yield _line("3 equal, spread 0.005, 10000 images, smallest 0.03", alike, replace(best, smallest=0.03))
    yield _line("4 in steps of 0.04, spread 0.02, order", usual, Question(ORDER, "head", 0.01, 10))
    near = World((0.50, 0.50, 0.52, 0.60), spread=0.02)
    yield _line(
        "0.50, 0.50, 0.52, 0.60 over 0.50, spread 0.02, beats_pixels", near, Question(BEATS_PIXELS, None, 0.01, 10)
    )


def _line(name: str, world: World, question: Question) -> tuple[str, str]:
    found = simulate(world, question, GRIDS)
    return name, f"{found.wrong:.1%} false, {found.settled:.0%} answered, {found.seeds:.0%} of the pretrainings"
