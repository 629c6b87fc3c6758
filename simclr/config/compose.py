"""From the overrides of many cells to their configurations, without asking Hydra for each.

Hydra composes a configuration in tens of milliseconds, most of them spent on reading files that are the same for every
cell. So it is asked once for each combination of what decides which files are read, and once for each option of a group
whose file holds values of its own section and nothing else; the sections so made are put together, and plain values set
on copies of them with the schema's conversions and checks. What Hydra and the schema would make of the same overrides
comes out, for anything out of the ordinary by asking them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from simclr.config.explain import explain
from simclr.config.schema import Config
from simclr.config.setting import settings
from simclr.config.validation import resolve, typed
from simclr.foundation.errors import InvalidInput, one_line

CONF = Path(__file__).parents[2] / "conf"

# What Hydra raises when a command line cannot be composed; a ValueError where a group's option is a number.
NOT_COMPOSED = (HydraException, OmegaConfBaseException, ValueError)

_KNOWN = {key: declared for key, declared, _ in settings(Config)}
_SECTIONS = {each.name for each in dataclasses.fields(Config) if "decides" not in each.metadata}
# The few forms of a value that nearly every override has, as Hydra's grammar reads them; its parser takes 0.1 ms.
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]+([eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)")
_WORD = re.compile(r"(?!(?i:true|false|null|nan|inf)\Z)[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE = re.compile(r"\$\{(\w[\w.]*)\}")
_EXACT = {"int": int, "float": float, "str": str, "int | None": int, "str | None": str}


@dataclass(frozen=True)
class _Value:
    """A plain setting."""

    key: str
    value: Any
    text: str

    @property
    def section(self) -> str | None:
        return self.key.rpartition(".")[0] or None

    @property
    def name(self) -> str:
        return self.key.rpartition(".")[2]


@dataclass(frozen=True)
class _Choice:
    """An option of a group that decides its own section and nothing else."""

    key: str


@dataclass(frozen=True)
class _Base:
    """What decides which files are read, what other values are read from, or what reads other values itself."""

    key: str
    reads: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Unusual:
    """Anything else: left to Hydra."""

    key: str = ""


_Override = _Value | _Choice | _Base | _Unusual


@dataclass
class _Sorted:
    """One point's overrides by kind."""

    base: tuple[str, ...]
    choices: dict[str, str]
    values: dict[str | None, tuple[_Value, ...]]


@dataclass
class Composer:
    """Makes configurations of overrides, and remembers the parts for the next ones.

    Args:
        conf: the folder of configuration groups.
        compose: from overrides to the composed configuration, without its ``hydra`` section; by default Hydra's own
            ``compose`` over ``conf``, within a program that Hydra started with what it was started with.
    """

    conf: Path = CONF
    compose: Callable[[list[str]], DictConfig] | None = None
    _groups: dict[str, frozenset[str]] = field(init=False, repr=False)
    _independent: frozenset[str] = field(init=False, repr=False)
    _read_elsewhere: frozenset[str] = field(init=False, repr=False)
    _overrides: dict[str, _Override] = field(default_factory=dict, init=False, repr=False)
    _made: dict[tuple[Any, ...], Any] = field(default_factory=dict, init=False, repr=False)
    _scratch: DictConfig = field(default_factory=lambda: OmegaConf.structured(Config), init=False, repr=False)

    def __post_init__(self) -> None:
        texts = {path: path.read_text() for path in sorted(self.conf.rglob("*.yaml"))}
        groups: dict[str, set[str]] = {}
        entangled = set()
        for path, text in texts.items():
            group = path.parent.relative_to(self.conf).as_posix()
            groups.setdefault(group, set()).add(path.stem)
            if group not in _SECTIONS or re.search(r"^#\s*@package|^defaults:", text, re.MULTILINE):
                entangled.add(group)
        self._groups = {group: frozenset(options) for group, options in groups.items() if group != "."}
        self._independent = frozenset(self._groups) - entangled
        self._read_elsewhere = frozenset(_REFERENCE.findall("\n".join(texts.values())))

    def __call__(self, overrides: Sequence[str]) -> Config:
        """The configuration that these overrides mean, valid in itself.

        Configurations share the sections in which they agree: they are there to be read.

        Raises:
            InvalidInput: an override is not understood, or its value not valid.
        """
        kinds = self._sort(overrides)
        if kinds is None:
            return self._whole(overrides)
        config = Config.__new__(Config)
        try:
            rest = self._rest(kinds)
            config.__dict__.update(rest)
            for group in self._independent:
                config.__dict__[group] = self._made[kinds.base, group, kinds.choices.get(group)]
        except (HydraException, OmegaConfBaseException, InvalidInput):
            return self._whole(overrides)
        for section, values in kinds.values.items():
            if section is None:
                config.__dict__.update({each.name: each.value for each in values})
            else:
                config.__dict__[section] = self._changed(kinds, section, values)
        return resolve(config)

    def all(self, points: Iterable[Sequence[str]]) -> Iterator[Config]:
        """The configurations of many points, in their order, asking Hydra as few times as will do.

        Raises:
            InvalidInput: as for one, at the first point that is not valid.
        """
        points = list(points)
        needed: dict[tuple[str, ...], dict[str, dict[str | None, None]]] = {}
        for kinds in filter(None, map(self._sort, points)):
            chosen = needed.setdefault(kinds.base, {group: {} for group in self._independent})
            for group in self._independent:
                chosen[group][kinds.choices.get(group)] = None
        for base, chosen in needed.items():
            for together in zip_longest(*chosen.values()):
                choices = {group: text for group, text in zip(chosen, together, strict=True) if text is not None}
                try:
                    self._make(base, choices)
                except (HydraException, OmegaConfBaseException, InvalidInput):
                    break  # the point that asks for it says what is wrong
        return map(self, points)

    def _sort(self, overrides: Sequence[str]) -> _Sorted | None:
        """The overrides by kind; None where their order matters or one of them is out of the ordinary."""
        base: list[str] = []
        choices: dict[str, str] = {}
        values: dict[str | None, list[_Value]] = {}
        kinds = [self._overrides.get(text) or self._remember(text) for text in overrides]
        reads = {key for kind in kinds if isinstance(kind, _Base) for key in kind.reads}
        if reads and len({kind.key for kind in kinds}) < len(kinds):
            return None
        for text, kind in zip(overrides, kinds, strict=True):
            if isinstance(kind, _Base) or (reads and (isinstance(kind, _Choice) or _is_read(kind.key, reads))):
                base.append(text)
            elif isinstance(kind, _Value):
                values.setdefault(kind.section, []).append(kind)
            elif isinstance(kind, _Choice) and kind.key not in choices:
                choices[kind.key] = text
            else:
                return None
        return _Sorted(tuple(base), choices, {section: tuple(each) for section, each in values.items()})

    def _remember(self, text: str) -> _Override:
        kind = self._overrides[text] = self._kind(text)
        return kind

    def _kind(self, text: str) -> _Override:
        key, _, given = text.partition("=")
        key = key.removeprefix("++")
        if key in self._independent and given in self._groups[key]:
            return _Choice(key)
        if key.startswith(("hydra.", "hydra/")) or given in self._groups.get(key, ()):
            return _Base(key)
        if key not in _KNOWN or "???" in text:
            return _Unusual()
        if "${" in text:
            reads = frozenset(_REFERENCE.findall(text))
            return _Base(key, reads) if text.count("$") == len(_REFERENCE.findall(text)) else _Unusual()
        try:
            value = self._converted(key, _parsed(text, given))
        except (HydraException, OmegaConfBaseException):
            return _Unusual()
        return _Base(key) if key in self._read_elsewhere else _Value(key, value, text)

    def _converted(self, key: str, value: Any) -> Any:
        """The value as the schema's type has it."""
        exact = _EXACT.get(str(_KNOWN[key].type))
        if type(value) is exact:
            return value
        if exact is float and type(value) is int:
            return float(value)
        OmegaConf.update(self._scratch, key, value, merge=True)
        held = OmegaConf.select(self._scratch, key)
        return OmegaConf.to_container(held) if OmegaConf.is_config(held) else held

    def _rest(self, kinds: _Sorted) -> dict[str, Any]:
        """Everything but the independent groups' sections; those that this point needs are made where they are not."""
        missing = [each for each in self._independent if (kinds.base, each, kinds.choices.get(each)) not in self._made]
        if missing:
            self._make(kinds.base, kinds.choices)
        rest: dict[str, Any] = self._made[kinds.base, None]
        return rest

    def _make(self, base: tuple[str, ...], choices: dict[str, str]) -> None:
        composed = vars(typed(self._composed([*base, *choices.values()])))
        for group in self._independent:
            self._made.setdefault((base, group, choices.get(group)), composed[group])
        rest = {name: value for name, value in composed.items() if name not in self._independent}
        self._made.setdefault((base, None), rest)

    def _changed(self, kinds: _Sorted, section: str, values: tuple[_Value, ...]) -> Any:
        identity = (kinds.base, section, kinds.choices.get(section), tuple(each.text for each in values))
        changed = self._made.get(identity)
        if changed is None:
            owner = self._made[kinds.base, None].get(section)
            changed = copy(owner or self._made[kinds.base, section, kinds.choices.get(section)])
            changed.__dict__.update({each.name: each.value for each in values})
            self._made[identity] = changed
        return changed

    def _whole(self, overrides: Sequence[str]) -> Config:
        try:
            return resolve(self._composed(list(overrides)))
        except InvalidInput:
            raise
        except NOT_COMPOSED as error:
            told = explain(list(overrides), self.conf) or InvalidInput(f"{' '.join(overrides)}: {one_line(error)}")
            raise told from error

    def _composed(self, overrides: list[str]) -> DictConfig:
        if self.compose is not None:
            return self.compose(overrides)
        if GlobalHydra.instance().is_initialized():
            return hydra_compose("config", overrides)
        with initialize_config_dir(str(self.conf.absolute()), version_base="1.3"):
            return hydra_compose("config", overrides)


def compose(overrides: list[str]) -> Config:
    """The configuration that a command line means.

    Args:
        overrides: as on the command line of ``run.py``.

    Raises:
        InvalidInput: an override is not valid, or the configuration is not.
    """
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            composed = hydra_compose("config", overrides)
    except NOT_COMPOSED as error:
        raise (explain(overrides, CONF) or InvalidInput(one_line(error))) from error
    return resolve(composed)


def without_hydra(config: DictConfig) -> DictConfig:
    """What of a composed configuration is ours."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _is_read(key: str, reads: set[str]) -> bool:
    return any(key == each or key.startswith(f"{each}.") or each.startswith(f"{key}.") for each in reads)


def _parsed(text: str, given: str) -> Any:
    """An override's value.

    Raises:
        HydraException: it is none of Hydra's grammar, or several values at once.
    """
    if _WORD.fullmatch(given):
        return given
    if _WHOLE.fullmatch(given):
        return int(given)
    if _DECIMAL.fullmatch(given):
        return float(given)
    (override,) = OverridesParser.create().parse_overrides([text])
    if override.is_sweep_override():
        raise HydraException(f"{text}: several values at once")
    return override.value()
