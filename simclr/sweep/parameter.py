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
from simclr.sweep.marked import Entries, Marked

NO_Q = {
    "constant": {"value"},
    "categorical": {"values", "probabilities"},
    "categorical_w_probabilities": {"values", "probabilities"},
    "int_uniform": {"min", "max"},
}
WITH_Q = {
    "uniform": {"min", "max"},
    "log_uniform": {"min", "max"},
    "log_uniform_values": {"min", "max"},
    "inv_log_uniform": {"min", "max"},
    "inv_log_uniform_values": {"min", "max"},
    "normal": {"mu", "sigma"},
    "log_normal": {"mu", "sigma"},
    "log_normal_values": {"mu", "sigma"},
    "beta": {"a", "b"},
}
KINDS = {**NO_Q, **WITH_Q, **{f"q_{kind}": {*keys, "q"} for kind, keys in WITH_Q.items()}}
DEFAULTS = {"mu": 0.0, "sigma": 1.0, "a": 1.0, "b": 1.0, "q": 1.0}

MAKERS: dict[str, Callable[[float, float], Continuous]] = {
    "uniform": Uniform,
    "log_uniform": lambda low, high: LogUniform(math.exp(low), math.exp(high)),
    "inv_log_uniform": lambda low, high: LogUniform(math.exp(-high), math.exp(-low)),
    "log_uniform_values": LogUniform,
    "inv_log_uniform_values": LogUniform,
    "normal": Normal,
    "log_normal": LogNormal,
    "log_normal_values": LogNormal,  # W&B has one log-normal; so called beside its other names, it is the same
    "beta": Beta,
}


def read_distribution(file: Marked, name: str, at: yaml.Node, entries: Entries) -> Distribution:
    """The distribution that a parameter's entries mean.

    Args:
        file: that they are from.
        name: the parameter's.
        at: the node to blame for what is missing.
        entries: the parameter's.

    Raises:
        InvalidInput: they mean none, with the line.
    """
    if "distribution" in entries:
        given = str(file.value(entries["distribution"][1]))
        if given not in KINDS:
            near = suggestion(given, KINDS)
            file.fail(entries["distribution"][0], f"{name}: {given}: there is no such distribution.{near}")
        kind = given
    else:
        kind = _inferred(file, name, at, entries)
    file.only(entries, ("distribution", *sorted(KINDS[kind])), f"{name}: {kind}")
    for needed in KINDS[kind] - set(DEFAULTS) - {"probabilities"}:
        if needed not in entries:
            file.fail(at, f"{name}: {kind}: {needed} is missing")
    if kind == "constant":
        return Constant(file.value(entries["value"][1]))
    if "values" in KINDS[kind]:
        return _categorical(file, name, entries)
    if kind == "int_uniform":
        low, high = (file.whole(entries, key) for key in ("min", "max"))
        _ordered(file, name, at, low, high)
        return IntUniform(low, high)
    return _continuous(file, name, at, entries, kind)


def _inferred(file: Marked, name: str, at: yaml.Node, entries: Entries) -> str:
    """The distribution that W&B takes where none is named."""
    if "value" in entries:
        return "constant"
    if "values" in entries:
        return "categorical"
    if "min" in entries and "max" in entries:
        both = [file.value(entries[key][1]) for key in ("min", "max")]
        return "int_uniform" if all(type(each) is int for each in both) else "uniform"
    known = {"distribution", *(key for keys in KINDS.values() for key in keys)}
    for key, (where, _) in entries.items():
        if key not in known:
            file.fail(where, f"{name}: {key}: there is no such key of a parameter.{suggestion(key, known)}")
    return file.fail(at, f"{name}: value, values, min and max, or distribution is missing")


def _categorical(file: Marked, name: str, entries: Entries) -> Categorical:
    at, node = entries["values"]
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        file.fail(at, f"{name}: values: a list of at least one value is needed")
    several = tuple(file.value(each) for each in node.value)
    if "probabilities" not in entries:
        return Categorical(several)
    at, node = entries["probabilities"]
    shares = file.value(node)
    numbers = isinstance(shares, list) and all(isinstance(each, (int, float)) and each >= 0 for each in shares)
    if not numbers or len(shares) != len(several) or abs(sum(shares) - 1) > 1e-3:
        file.fail(at, f"{name}: probabilities: one for each value is needed, adding up to 1")
    return Categorical(several, tuple(each / sum(shares) for each in shares))


def _continuous(file: Marked, name: str, at: yaml.Node, entries: Entries, kind: str) -> Distribution:
    keys = sorted(WITH_Q[kind.removeprefix("q_")], reverse="min" in KINDS[kind])  # a b, min max, mu sigma
    first, second = (file.number(entries, key) if key in entries else DEFAULTS[key] for key in keys)
    plain = _plain(file, name, at, kind.removeprefix("q_"), first, second)
    if not kind.startswith("q_"):
        return plain
    q = file.number(entries, "q") if "q" in entries else DEFAULTS["q"]
    if q <= 0:
        file.fail(entries["q"][0], f"{name}: q: {q:g}: valid is more than 0")
    return Rounded(plain, q)


def _plain(file: Marked, name: str, at: yaml.Node, kind: str, first: float, second: float) -> Continuous:
    if "uniform" in kind:
        _ordered(file, name, at, first, second)
    if kind.endswith("uniform_values") and first <= 0:
        file.fail(at, f"{name}: {kind}: min: {first:g}: valid is more than 0 (log_uniform takes exponents)")
    if "normal" in kind and second < 0:
        file.fail(at, f"{name}: {kind}: sigma: {second:g}: valid is at least 0")
    if kind == "beta" and min(first, second) <= 0:
        file.fail(at, f"{name}: beta: a and b are more than 0")
    try:
        return MAKERS[kind](first, second)
    except OverflowError:
        return file.fail(at, f"{name}: {kind} takes exponents of e; for the values themselves use {kind}_values")


def _ordered(file: Marked, name: str, at: yaml.Node, low: float, high: float) -> None:
    if low > high:
        file.fail(at, f"{name}: min: {low:g} is above max: {high:g}")
