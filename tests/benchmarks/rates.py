"""How often what a report says is false, on simulated grids of known truth: the tables of ``docs/statistics.md``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np

from tests.report.simulated import DESIGNS, SIX, TWO, Size, leaders, over_sizes

GRIDS, LEADERS = 500, 400
EDGES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.001)


def measure() -> Iterator[tuple[str, str]]:
    """Over all sizes of a design, and at the worst of them, in percent; then the reliability of P(best)."""
    for design in DESIGNS:
        for seeds in (1, 2, 3, 5):
            found = over_sizes(design, seeds, GRIDS)
            if not found:
                continue
            told = []
            for name in ("false", "missed", "missed_accuracy"):
                each = [float(np.mean(getattr(rates, name))) for rates in found]
                whole = float(np.mean([value for rates in found for value in getattr(rates, name)]))
                told.append(f"{name} {whole:.1%} (at most {max(each):.1%})")
            yield f"{design.name}, seeds {seeds}", ", ".join(told)
    for design, seeds in product((SIX, TWO), (2, 3, 5)):
        spread, chance, right = leaders(design, Size(seeds), LEADERS).T
        for low, high in pairwise(EDGES):
            said = (low <= chance) & (chance < high)
            if said.sum() >= 20:
                yield (
                    f"P(best) of {design.name}, {seeds} seeds, from {low:g} to {min(high, 1):g}",
                    f"says {chance[said].mean():.2f}, right {right[said].mean():.2f} ({said.sum()} cells)",
                )
        equal = chance[spread == 0].reshape(-1, len(design.network)).max(axis=1)
        yield f"P(best) of the first of {design.name} that are equal, {seeds} seeds", f"{equal.mean():.2f}"
