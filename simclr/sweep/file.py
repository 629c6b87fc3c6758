"""W&B sweep files, read without W&B, each thing with its line.

A file that runs here runs under ``wandb sweep`` too. Whatever W&B understands and this does not is refused with its
line, as is everything that the configuration's schema does not have, before anything starts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from simclr.config import OF_ITS_QUESTION, home
from simclr.config.compose import CONF
from simclr.foundation.errors import InvalidInput, suggestion
from simclr.sweep.distribution import Categorical, Constant, Distribution, values
from simclr.sweep.marked import Entries, Marked
from simclr.sweep.parameter import read_distribution
from simclr.sweep.space import (
    METHODS,
    METRICS,
    Hyperband,
    Metric,
    Parameter,
    Sweep,
    check_override,
    check_parameter,
    metric_name,
    text_of,
    with_overrides,
)

OF_THE_GRID = ("rerun", "fail_fast", "launch", "root", *OF_ITS_QUESTION)
"""Keys that decide how a grid is run: its cells cannot differ in them."""
UNDERSTOOD = (
    *("program", "name", "description", "project", "entity", "method", "metric", "parameters"),
    *("early_terminate", "command", "run_cap", "apiVersion", "kind"),
)
WANDB_ONLY = ("controller", "job", "image_uri", "metrics", "scheduler", "launch")

# What stands before the overrides in a command, and W&B's places for the parameters.
LAUNCHERS = re.compile(r"\$\{(env|interpreter|program)\}|(.*/)?(env|python[\d.]*)|-[uOBIEs]+|\$\{envvar:\w+\}")
ARGUMENTS = re.compile(r"\$\{args(_no_hyphens|_no_boolean_flags|_append_hydra)?\}")


def read(path: str | Path, overrides: Sequence[str] = (), conf: Path = CONF) -> Sweep:
    """A sweep file, with the command line's overrides in it.

    Args:
        path: of the YAML file.
        overrides: of the command line; they win over the file's.
        conf: the folder of configuration groups.

    Raises:
        InvalidInput: the file cannot be read, or something in it is not understood; with its line.
    """
    return with_overrides(_Reader(Marked(path), conf).sweep(), overrides, conf)


def _constant(parameter: Parameter) -> str:
    (value,) = values(parameter.distribution) or (None,)
    return f"{parameter.name}={text_of(value)}"


@dataclass
class _Reader:
    """One file, part by part."""

    file: Marked
    conf: Path

    def sweep(self) -> Sweep:
        top = self.file.mapping(self.file.root, "a sweep file")
        for key, (at, _) in top.items():
            if key in WANDB_ONLY:
                self.file.fail(at, f"{key}: W&B understands this, a sweep without its server does not")
            if key not in UNDERSTOOD:
                self.file.fail(at, f"{key}: there is no such key in a sweep file.{suggestion(key, UNDERSTOOD)}")
        for needed in ("method", "parameters"):
            if needed not in top:
                self.file.fail(self.file.root, f"{needed} is missing")
        method = self._method(top)
        metric = self._metric(top)
        early = self._early_terminate(top)
        if metric is None and (method == "bayes" or early):
            self.file.fail(
                top["early_terminate" if early else "method"][0], "metric is missing: it says what is better"
            )
        if early and method == "grid":
            self.file.fail(
                top["early_terminate"][0],
                "early_terminate: a grid's cells share their pretrainings, none is stopped early; "
                "use method: random or bayes",
            )
        self._program(top)
        parameters = self._parameters(top["parameters"][1], "", method)
        if not parameters:
            self.file.fail(top["parameters"][1], "parameters: at least one is needed")
        lifted = [each for each in parameters if each.name in OF_THE_GRID]
        parameters = tuple(each for each in parameters if each.name not in OF_THE_GRID)
        return Sweep(
            name=self.file.text(top, "name") or self.file.path.stem,
            method=method,
            parameters=parameters,
            overrides=(*self._command(top, {each.name for each in parameters}), *map(_constant, lifted)),
            metric=metric,
            early_terminate=early,
            run_cap=self.file.whole(top, "run_cap", 1) if "run_cap" in top else None,
            project=self.file.text(top, "project"),
            entity=self.file.text(top, "entity"),
            description=self.file.text(top, "description"),
        )

    def _method(self, top: Entries) -> str:
        at, node = top["method"]
        method = self.file.value(node)
        if method == "custom":
            self.file.fail(at, "method: W&B understands custom, a sweep without its server does not")
        if method not in METHODS:
            self.file.fail(at, f"method: {method}: valid is {', '.join(METHODS)}.{suggestion(str(method), METHODS)}")
        return str(method)

    def _metric(self, top: Entries) -> Metric | None:
        if "metric" not in top:
            return None
        entries = self.file.mapping(top["metric"][1], "metric")
        self.file.only(entries, ("name", "goal", "target"), "metric", ("impute", "impute_while_running"))
        if "name" not in entries:
            self.file.fail(top["metric"][0], "metric: name is missing")
        given = str(self.file.value(entries["name"][1]))
        name = metric_name(given)
        if name is None:
            near = suggestion(given, METRICS)
            self.file.fail(
                entries["name"][0], f"metric: {given}: no cell records this; valid is {', '.join(METRICS)}.{near}"
            )
        goal = self.file.value(entries["goal"][1]) if "goal" in entries else "minimize"
        if goal not in ("minimize", "maximize"):
            self.file.fail(entries["goal"][0], f"metric: goal: {goal}: valid is minimize, maximize")
        return Metric(name, goal == "maximize", self.file.number(entries, "target") if "target" in entries else None)

    def _early_terminate(self, top: Entries) -> Hyperband | None:
        if "early_terminate" not in top:
            return None
        at, node = top["early_terminate"]
        entries = self.file.mapping(node, "early_terminate")
        self.file.only(entries, ("type", "min_iter", "max_iter", "s", "eta", "strict"), "early_terminate")
        kind = self.file.value(entries["type"][1]) if "type" in entries else None
        if kind != "hyperband":
            self.file.fail(entries.get("type", (at, node))[0], f"early_terminate: type: {kind}: valid is hyperband")
        eta = self.file.number(entries, "eta") if "eta" in entries else 3.0
        if not eta > 1:
            self.file.fail(entries["eta"][0], f"early_terminate: eta: {eta:g}: valid is more than 1")
        strict = self.file.value(entries["strict"][1]) if "strict" in entries else False
        if not isinstance(strict, bool):
            self.file.fail(entries["strict"][0], f"early_terminate: strict: {strict}: valid is true, false")
        if "max_iter" in entries and "s" in entries:
            most, brackets = self.file.whole(entries, "max_iter", 1), self.file.whole(entries, "s", 1)
            bands = sorted(int(most / eta**number) for number in range(1, brackets + 1) if most / eta**number >= 1)
            if not bands:
                self.file.fail(entries["max_iter"][0], "early_terminate: max_iter is below eta: there is no band")
        elif "min_iter" in entries:
            least = self.file.whole(entries, "min_iter", 1)
            bands = [int(least * eta**number) for number in range(100) if least * eta**number < 1e9]
        else:
            self.file.fail(at, "early_terminate: min_iter is missing, or max_iter and s")
        return Hyperband(tuple(bands), eta, strict)

    def _program(self, top: Entries) -> None:
        program = self.file.text(top, "program")
        if program and Path(program).name != "run.py":
            self.file.fail(top["program"][0], f"program: {program}: this runs run.py and nothing else")

    def _command(self, top: Entries, varied: set[str]) -> tuple[str, ...]:
        """The command without what starts the program and without W&B's places for parameters: its overrides."""
        if "command" not in top:
            return ()
        node = top["command"][1]
        if not isinstance(node, yaml.SequenceNode):
            self.file.fail(node, "command: a list is needed")
        overrides: list[str] = []
        for each in node.value:
            (text,) = home.quoted([str(self.file.value(each))])
            if ARGUMENTS.fullmatch(text) or Path(text).name == "run.py":
                continue
            if not overrides and LAUNCHERS.fullmatch(text):
                continue
            if text.startswith("-") or "${" in text.partition("=")[0] or not re.match(r"[+~]|[\w./@]+=", text):
                self.file.fail(each, f"command: {text}: only overrides (KEY=VALUE) are understood without W&B's server")
            if text.partition("=")[0] in varied:
                self.file.fail(each, f"command: {text}: parameters vary this already")
            try:
                check_override(text, self.conf)
            except InvalidInput as error:
                self.file.fail(each, f"command: {error}")
            overrides.append(text)
        return tuple(overrides)

    def _parameters(self, node: yaml.Node, prefix: str, method: str) -> tuple[Parameter, ...]:
        """The parameters, those of nested ones under dotted names."""
        found: list[Parameter] = []
        for key, (at, inner) in self.file.mapping(node, f"parameters {prefix}".strip()).items():
            name = f"{prefix}{key}"
            if not isinstance(inner, yaml.MappingNode):
                self.file.fail(
                    at, f"{name}: value, values or a distribution is needed, say {{value: {self.file.value(inner)}}}"
                )
            entries = self.file.mapping(inner, name)
            if "parameters" in entries:
                self.file.only(entries, ("parameters",), name)
                found.extend(self._parameters(entries["parameters"][1], f"{name}.", method))
                continue
            distribution = read_distribution(self.file, name, at, entries)
            if method == "grid" and values(distribution) is None:
                self.file.fail(
                    at, f"{name}: a grid goes through values, int_uniform or q_uniform; for others use method: random"
                )
            if name in OF_THE_GRID and len(values(distribution) or ()) != 1:
                self.file.fail(at, f"{name}: the grid reads this, not each cell: one value, say {name}: {{value: ..}}")
            self._check(name, at, entries, distribution)
            found.append(Parameter(name, distribution))
        return tuple(found)

    def _check(self, name: str, at: yaml.Node, entries: Entries, distribution: Distribution) -> None:
        if isinstance(distribution, Categorical):
            listed = entries["values"][1]
            assert isinstance(listed, yaml.SequenceNode)
            for each, value in zip(listed.value, distribution.values, strict=True):
                self._try(each, name, Constant(value))
        else:
            self._try(at, name, distribution)

    def _try(self, at: yaml.Node, name: str, distribution: Distribution) -> None:
        try:
            check_parameter(name, distribution, self.conf)
        except InvalidInput as error:
            self.file.fail(at, str(error))
