"""The distributions of W&B sweep files, each as the function from a uniform number to a value (its inverse CDF).

So whatever draws uniform numbers, at random or by a model, samples each of them as it is defined:
https://docs.wandb.ai/models/sweeps/sweep-config-keys
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any


@dataclass(frozen=True)
class Constant:
    """Always the same value."""

    value: Any

    def at(self, uniform: float) -> Any:  # noqa: ARG002
        return self.value


@dataclass(frozen=True)
class Categorical:
    """One of a few values, all equally probable unless it is said how much."""

    values: tuple[Any, ...]
    probabilities: tuple[float, ...] | None = None

    def at(self, uniform: float) -> Any:
        """The value in whose share of [0, 1] the number falls."""
        shares = self.probabilities or (1 / len(self.values),) * len(self.values)
        below = 0.0
        for value, share in zip(self.values, shares, strict=True):
            below += share
            if uniform < below:
                return value
        return next(value for value, share in zip(reversed(self.values), reversed(shares), strict=True) if share)


@dataclass(frozen=True)
class IntUniform:
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int

    def at(self, uniform: float) -> int:
        return min(self.high, self.low + math.floor(uniform * (self.high - self.low + 1)))


@dataclass(frozen=True)
class Rounded:
    """Another distribution, rounded to multiples of ``q``: round(X / q) * q; whole numbers where ``q`` is one."""

    of: Continuous
    q: float

    def at(self, uniform: float) -> float:
        steps = round(self.of.at(uniform) / self.q)
        # 3 * 0.1 is 0.30000000000000004: said with as many digits as anyone meant
        return steps * int(self.q) if float(self.q).is_integer() else float(f"{steps * self.q:.12g}")


@dataclass(frozen=True)
class Uniform:
    """Numbers from ``low`` to ``high``."""

    low: float
    high: float

    def at(self, uniform: float) -> float:
        return self.low + uniform * (self.high - self.low)


@dataclass(frozen=True)
class LogUniform:
    """Numbers from ``low`` to ``high`` whose logarithm is uniform; so is then the logarithm of their inverse."""

    low: float
    high: float

    def at(self, uniform: float) -> float:
        logarithm = math.log(self.low) + uniform * (math.log(self.high) - math.log(self.low))
        return min(self.high, max(self.low, math.exp(logarithm)))


@dataclass(frozen=True)
class Normal:
    """The normal distribution."""

    mu: float
    sigma: float

    def at(self, uniform: float) -> float:
        inside = min(max(uniform, 1e-12), 1 - 1e-12)  # at 0 and 1 there is no value
        return NormalDist().inv_cdf(inside) * self.sigma + self.mu


@dataclass(frozen=True)
class LogNormal:
    """Numbers whose logarithm is normal with ``mu`` and ``sigma``."""

    mu: float
    sigma: float

    def at(self, uniform: float) -> float:
        return math.exp(Normal(self.mu, self.sigma).at(uniform))


@dataclass(frozen=True)
class Beta:
    """The beta distribution on [0, 1]."""

    a: float
    b: float

    def at(self, uniform: float) -> float:
        from scipy.special import betaincinv

        return float(betaincinv(self.a, self.b, uniform))


Continuous = Uniform | LogUniform | Normal | LogNormal | Beta
Distribution = Constant | Categorical | IntUniform | Rounded | Continuous


def values(distribution: Distribution) -> list[Any] | None:
    """Every value, in order, of a distribution that a grid can go through; None of one that it cannot.

    Of the rounded ones only the uniform: W&B steps from its lower end by ``q`` and leaves the upper end out.
    """
    match distribution:
        case Constant(value):
            return [value]
        case Categorical(several, None):
            return list(several)
        case IntUniform(low, high):
            return list(range(low, high + 1))
        case Rounded(Uniform(low, high), q):
            steps = (low + number * q for number in range(math.ceil((high - low) / q - 1e-9)))
            return [round(step) if float(step).is_integer() and float(q).is_integer() else step for step in steps]
    return None


def ends(distribution: Distribution) -> tuple[Any, ...]:
    """Values that show whether a distribution is within a setting's range: its ends, where it has none its middle."""
    match distribution:
        case Constant(value):
            return (value,)
        case Categorical(several, _):
            return several
        case Normal() | LogNormal() | Rounded(Normal() | LogNormal()):
            return (distribution.at(0.5),)
    return (distribution.at(0.0), distribution.at(1.0))


def is_whole(distribution: Distribution) -> bool:
    """Whether only whole numbers come out."""
    return isinstance(distribution, IntUniform) or (
        isinstance(distribution, Rounded) and float(distribution.q).is_integer()
    )
