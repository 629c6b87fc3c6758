"""What a sweep varies and what it is led by, as values that are known to be runnable; and a grid's points."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from simclr.config import Config, settings
from simclr.config.compose import CONF
from simclr.config.explain import explain, options_of, several
from simclr.config.validation import validate_one
from simclr.foundation.errors import InvalidInput, suggestion
from simclr.sweep.distribution import Categorical, Constant, Distribution, ends, is_whole, values

METHODS = ("grid", "random", "bayes")

METRICS = (
    "probe/test_accuracy",
    "probe/validation_accuracy",
    "probe/train_accuracy",
    "monitor/knn_accuracy",
    "representation/alignment",
    "representation/uniformity",
    "representation/effective_rank",
    "representation/knn_accuracy",
    "pretraining/loss",
    "pretraining/contrastive_accuracy",
    "pretraining/images_per_second",
    "pretraining/seconds",
    "seconds",
)
"""What a sweep can be led by, as fields of a cell's record (``/mean`` understood) and the monitor's last look."""


@dataclass(frozen=True)
class Parameter:
    """One thing that a sweep varies: a setting or a group, and where its values come from."""

    name: str
    distribution: Distribution


@dataclass(frozen=True)
class Metric:
    """What a search is led by."""

    name: str
    maximize: bool
    target: float | None = None
    """No new trial once one has reached it."""


@dataclass(frozen=True)
class Hyperband:
    """When a trial is stopped early: at each band (a count of looks) all but the best 1 / ``eta`` are."""

    bands: tuple[int, ...]
    eta: float
    strict: bool


@dataclass(frozen=True)
class Sweep:
    """A sweep file, with the command line's overrides in it."""

    name: str
    method: str
    parameters: tuple[Parameter, ...]
    overrides: tuple[str, ...]
    """The same for every cell: those of the file's command, then those of the command line."""
    metric: Metric | None = None
    early_terminate: Hyperband | None = None
    run_cap: int | None = None


def should_stop(history: Sequence[float], others: Sequence[Sequence[float]], hyperband: Hyperband) -> bool:
    """Whether a trial is not among the best at the last band that it has reached (Li et al. 2017, arXiv 1603.06560).

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


def points(sweep: Sweep) -> Iterator[tuple[str, ...]]:
    """The overrides of each point of a grid, in W&B's order: names sorted, the last one varying fastest."""
    varied = sorted(sweep.parameters, key=lambda each: each.name)
    choices = [[f"{each.name}={text_of(value)}" for value in values(each.distribution) or ()] for each in varied]
    for chosen in itertools.islice(itertools.product(*choices), sweep.run_cap):
        yield (*chosen, *sweep.overrides)


def text_of(value: Any) -> str:
    """A value as Hydra's command line has it.

    >>> [text_of(value) for value in (None, True, 3, 1e-05, "relu_1", [8, 12], {"a": 1}, "two words, one value")]
    ['null', 'true', '3', '1e-05', 'relu_1', '[8,12]', '{a:1}', "'two words, one value'"]
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(text_of, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{text_of(item)}" for key, item in value.items()) + "}"
    text = repr(value) if isinstance(value, float) else str(value)
    try:
        # As W&B's agent writes it, where that is one value.
        (override,) = OverridesParser.create().parse_overrides([f"key={text}"])
        if text and not override.is_sweep_override():
            return text
    except HydraException:
        pass
    return QuotedString(text=text, quote=Quote.single).with_quotes()


def with_overrides(sweep: Sweep, overrides: Sequence[str]) -> Sweep:
    """The sweep with the command line's overrides, which win over the file's.

    One value sets what the file varied; several (``head=none,one_relu`` or ``seed=range(3)``) vary it. ``run_cap=20``
    is the file's key of that name.

    Raises:
        InvalidInput: an override is not understood, or its value not valid.
    """
    fixed: dict[str, str] = {_key(text): text for text in sweep.overrides}
    varied = {each.name: each for each in sweep.parameters}
    cap = sweep.run_cap
    for text in overrides:
        key = _key(text)
        if key == "run_cap":
            cap = _run_cap(text.partition("=")[2])
            continue
        check_override(text)
        values_typed = _several(text)
        varied.pop(key, None)
        fixed.pop(key, None)
        if values_typed is None:
            fixed[key] = text
        else:
            varied[key] = Parameter(key, Categorical(tuple(values_typed)))
    return replace(sweep, overrides=tuple(fixed.values()), parameters=tuple(varied.values()), run_cap=cap)


def check_override(text: str) -> None:
    """Whether an override is one that the schema has, with a value that is valid by itself.

    Raises:
        InvalidInput: it is not.
    """
    if (wrong := explain([text], CONF)) is not None:
        raise wrong
    (override,) = OverridesParser.create().parse_overrides([text])
    if "${" in text or override.key_or_group not in _KNOWN or override.is_sweep_override():
        return
    validate_one(override.key_or_group, _KNOWN[override.key_or_group], override.value())


def check_parameter(name: str, distribution: Distribution) -> None:
    """Whether a setting or group of this name exists and takes what the distribution gives.

    Raises:
        InvalidInput: it does not.
    """
    groups = [folder.name for folder in CONF.iterdir() if folder.is_dir()]
    if name not in _KNOWN and name not in groups:
        raise InvalidInput(f"{name}: there is no such key.{suggestion(name, [*_KNOWN, *groups])}")
    if not isinstance(distribution, (Constant, Categorical)):
        kind = str(_KNOWN[name].type) if name in _KNOWN else "str"
        if ("int" not in kind and "float" not in kind) or "list" in kind:
            raise InvalidInput(f"{name}: takes no numbers; give it values")
        if "float" not in kind and not is_whole(distribution):
            raise InvalidInput(f"{name}: takes whole numbers; give it int_uniform, or a rounded one with a whole q")
    for value in ends(distribution):
        check_override(f"{name}={text_of(value)}")


def metric_name(given: str) -> str | None:
    """The name in :data:`METRICS` that is meant: as it is there, with dots, without its first part, or with a mean.

    >>> metric_name("probe.test_accuracy.mean"), metric_name("test_accuracy"), metric_name("accuracy")
    ('probe/test_accuracy', 'probe/test_accuracy', None)
    """
    path = re.sub(r"/mean\Z", "", given.replace(".", "/"))
    alike = [name for name in METRICS if path == name or name.endswith(f"/{path}")]
    return path if path in METRICS else alike[0] if len(alike) == 1 else None


_KNOWN = {key: declared for key, declared, _ in settings(Config)}


def _key(text: str) -> str:
    return text.partition("=")[0].lstrip("+~")


def _run_cap(given: str) -> int:
    if not given.isdecimal() or int(given) < 1:
        raise InvalidInput(f"run_cap={given}: valid is a whole number, at least 1")
    return int(given)


def _several(text: str) -> list[Any] | None:
    """The values of an override that has several."""
    (override,) = OverridesParser.create().parse_overrides([text])
    if not override.is_sweep_override():
        return None
    if not override.is_discrete_sweep():
        raise InvalidInput(f"{text}: valid is one value, several with commas, or range()")
    return several(override, options_of(CONF).get(override.key_or_group, ()))
