"""When to stop a trial early: successive halving at W&B's bands (Li et al. 2017, arXiv 1603.06560)."""

from __future__ import annotations

from collections.abc import Sequence

from simclr.sweep.space import Hyperband


def should_stop(history: Sequence[float], others: Sequence[Sequence[float]], hyperband: Hyperband) -> bool:
    """Whether a trial is not among the best at the last band that it has reached.

    Of n trials that reached it, the best n / ``eta`` and one more go on, as W&B has it.

    Args:
        history: the trial's looks so far, the higher the better.
        others: those of all other trials, finished, stopped or running.
        hyperband: the bands, each the number of looks before the one that counts.

    Returns:
        Whether to stop it. Strictly, the look at the band decides; else the best look until now.

    >>> rule = Hyperband(bands=(1, 2), eta=2, strict=True)
    >>> should_stop([0.1, 0.2], [[0.1, 0.3, 0.4], [0.1, 0.4, 0.5]], rule), should_stop([0.1], [[0.9, 0.9]], rule)
    (True, False)
    """
    reached = [band for band in hyperband.bands if band < len(history)]
    if not reached:
        return False
    band = reached[-1]
    there = sorted((each[band] for each in (history, *others) if len(each) > band), reverse=True)
    needed = there[int(len(there) / hyperband.eta)]
    return (history[band] if hyperband.strict else max(history)) < needed
