"""A parameter of a sweep file: from its entries to its distribution, inferred as W&B does where it is not named."""

from __future__ import annotations

import math
from collections.abc import Callable

import yaml

from simclr.foundation.errors import suggestion
from simclr.sweep.distribution import (
    Beta,
    Categorical,
    Constant,
    Continuous,
    Distribution,
    IntUniform,
    LogNormal,
    LogUniform,
    Normal,
    Rounded,
    Uniform,
)
from simclr.sweep.marked import Entries

CONTINUOUS: dict[str, tuple[tuple[str, str], Callable[[float, float], Continuous]]] = {
    "uniform": (("min", "max"), Uniform),
    "log_uniform": (("min", "max"), lambda low, high: LogUniform(math.exp(low), math.exp(high))),
    "log_uniform_values": (("min", "max"), LogUniform),
    "inv_log_uniform": (("min", "max"), lambda low, high: LogUniform(math.exp(-high), math.exp(-low))),
    "inv_log_uniform_values": (("min", "max"), LogUniform),
    "normal": (("mu", "sigma"), Normal),
    "log_normal": (("mu", "sigma"), LogNormal),
    "log_normal_values": (("mu", "sigma"), LogNormal),  # the same: W&B has one, and this beside its other names
    "beta": (("a", "b"), Beta),
}
KEYS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values", "probabilities"),
    "categorical_w_probabilities": ("values", "probabilities"),
    "int_uniform": ("min", "max"),
    **{kind: keys for kind, (keys, _) in CONTINUOUS.items()},
    **{f"q_{kind}": (*keys, "q") for kind, (keys, _) in CONTINUOUS.items()},
}
DEFAULTS = {"mu": 0.0, "sigma": 1.0, "a": 1.0, "b": 1.0, "q": 1.0}


def read_distribution(entries: Entries) -> Distribution:
    """The distribution that a parameter's entries mean.

    Raises:
        InvalidInput: they mean none, with the line.
    """
    kind = str(entries.value("distribution")) if "distribution" in entries else _inferred(entries)
    if kind not in KEYS:
        entries.fail(f"{kind}: there is no such distribution.{suggestion(kind, KEYS)}", "distribution")
    entries.only(("distribution", *sorted(KEYS[kind])), kind)
    for needed in KEYS[kind]:
        if needed not in (*entries.nodes, *DEFAULTS, "probabilities"):
            entries.fail(f"{kind}: {needed} is missing")
    if kind == "constant":
        return Constant(entries.value("value"))
    if "values" in KEYS[kind]:
        return _categorical(entries)
    if kind == "int_uniform":
        low, high = (entries.whole(key) for key in ("min", "max"))
        _check_order(entries, low, high)
        return IntUniform(low, high)
    return _continuous(entries, kind)


def _inferred(entries: Entries) -> str:
    """The distribution that W&B takes where none is named."""
    if "value" in entries:
        return "constant"
    if "values" in entries:
        return "categorical"
    if "min" in entries and "max" in entries:
        return "int_uniform" if all(type(entries.value(key)) is int for key in ("min", "max")) else "uniform"
    known = {"distribution", *(key for keys in KEYS.values() for key in keys)}
    for key in entries.nodes:
        if key not in known:
            entries.fail(f"there is no such key of a parameter.{suggestion(key, known)}", key)
    return entries.fail("value, values, min and max, or distribution is missing")


def _categorical(entries: Entries) -> Categorical:
    _, node = entries.nodes["values"]
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        entries.fail("a list of at least one value is needed", "values")
    several = tuple(entries.value("values"))
    if "probabilities" not in entries:
        return Categorical(several)
    shares = entries.value("probabilities")
    numbers = isinstance(shares, list) and all(isinstance(each, (int, float)) and each >= 0 for each in shares)
    if not numbers or len(shares) != len(several) or abs(sum(shares) - 1) > 1e-3:
        entries.fail("one for each value is needed, adding up to 1", "probabilities")
    return Categorical(several, tuple(each / sum(shares) for each in shares))


def _continuous(entries: Entries, kind: str) -> Distribution:
    plain = kind.removeprefix("q_")
    keys, make = CONTINUOUS[plain]
    first, second = (entries.number(key, DEFAULTS.get(key, math.nan)) for key in keys)
    if "uniform" in plain:
        _check_order(entries, first, second)
    if plain.endswith("uniform_values") and first <= 0:
        entries.fail(f"{plain}: min: {first:g}: valid is more than 0 (log_uniform takes exponents)")
    if "normal" in plain and second < 0:
        entries.fail(f"{plain}: sigma: {second:g}: valid is at least 0")
    if plain == "beta" and min(first, second) <= 0:
        entries.fail("beta: a and b are more than 0")
    try:
        made = make(first, second)
    except OverflowError:
        made = None
    if made is None or (isinstance(made, LogUniform) and made.low == 0):  # out of a float's range, above or below
        entries.fail(f"{plain} takes exponents of e; for the values themselves use {plain}_values")
    if plain == kind:
        return made
    q = entries.number("q", DEFAULTS["q"])
    if q <= 0:
        entries.fail(f"{q:g}: valid is more than 0", "q")
    return Rounded(made, q)


def _check_order(entries: Entries, low: float, high: float) -> None:
    if low > high:
        entries.fail(f"min: {low:g} is above max: {high:g}")
