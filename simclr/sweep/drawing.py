"""How Optuna draws from the distributions of a sweep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from simclr.sweep.distribution import Categorical, Constant, Distribution, IntUniform, LogUniform, Uniform
from simclr.sweep.space import text_of

Drawn = tuple[BaseDistribution | None, Callable[[Any], Any]]


def drawn_as(distribution: Distribution) -> Drawn:
    """What Optuna draws for a distribution, and how the value follows from it.

    Its own distribution where it has the same one, so that a model of it knows what is near what; else a uniform
    number, of which the value is made as the distribution is defined.
    """
    match distribution:
        case Constant(value):
            return None, lambda _: value
        case Uniform(low, high):
            return FloatDistribution(low, high), lambda drawn: drawn
        case LogUniform(low, high):
            return FloatDistribution(low, high, log=True), lambda drawn: drawn
        case IntUniform(low, high):
            return IntDistribution(low, high), lambda drawn: drawn
        case Categorical(several, None) if len(set(map(text_of, several))) == len(several):
            by_text = {text_of(value): value for value in several}
            return CategoricalDistribution(tuple(by_text)), by_text.__getitem__
    return FloatDistribution(0.0, 1.0), distribution.at


def suggest(trial: optuna.trial.Trial, name: str, native: BaseDistribution | None) -> Any:
    """Have a trial draw, or say again what it drew before."""
    match native:
        case FloatDistribution():
            return trial.suggest_float(name, native.low, native.high, log=native.log)
        case IntDistribution():
            return trial.suggest_int(name, native.low, native.high)
        case CategoricalDistribution():
            return trial.suggest_categorical(name, native.choices)
    return None
