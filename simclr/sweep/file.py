"""W&B sweep files, read without W&B, each thing with its line.

A file that runs here runs under ``wandb sweep`` too. Whatever W&B understands and this does not is refused with its
line, as is everything that the configuration's schema does not have, before anything starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from simclr.config import OF_ITS_QUESTION, home
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


def read(path: str | Path, overrides: Sequence[str] = ()) -> Sweep:
    """A sweep file, with the command line's overrides in it, which win over the file's.

    Raises:
        InvalidInput: the file cannot be read, or something in it is not understood; with its line.
    """
    return with_overrides(_sweep(Marked(path)), overrides)


def _sweep(file: Marked) -> Sweep:
    top = file.mapping(file.root)
    top.only(UNDERSTOOD, wandb_only=WANDB_ONLY)
    for needed in ("method", "parameters"):
        if needed not in top:
            top.fail(f"{needed} is missing")
    method = _method(top)
    metric = _metric(top.mapping("metric")) if "metric" in top else None
    early = _early_terminate(top.mapping("early_terminate")) if "early_terminate" in top else None
    if metric is None and (method == "bayes" or early):
        file.fail(top.nodes["early_terminate" if early else "method"][0], "metric is missing: it says what is better")
    if early and method == "grid":
        text = "a grid's cells share their pretrainings, none is stopped early; use method: random or bayes"
        top.fail(text, "early_terminate")
    program = str(top.value("program", ""))
    if program and Path(program).name != "run.py":
        top.fail(f"{program}: this runs run.py and nothing else", "program")
    parameters = tuple(_parameters(top.mapping("parameters"), "", method))
    if not parameters:
        file.fail(top.nodes["parameters"][1], "parameters: at least one is needed")
    lifted = [each for each in parameters if each.name in OF_THE_GRID]
    parameters = tuple(each for each in parameters if each.name not in OF_THE_GRID)
    return Sweep(
        name=str(top.value("name", "")) or file.path.stem,
        method=method,
        parameters=parameters,
        overrides=(*_command(top, {each.name for each in parameters}), *map(_constant, lifted)),
        metric=metric,
        early_terminate=early,
        run_cap=top.whole("run_cap", 1) if "run_cap" in top else None,
    )


def _constant(parameter: Parameter) -> str:
    (value,) = values(parameter.distribution) or (None,)
    return f"{parameter.name}={text_of(value)}"


def _method(top: Entries) -> str:
    method = top.value("method")
    if method == "custom":
        top.fail("W&B understands custom, a sweep without its server does not", "method")
    if method not in METHODS:
        top.fail(f"{method}: valid is {', '.join(METHODS)}.{suggestion(str(method), METHODS)}", "method")
    return str(method)


def _metric(entries: Entries) -> Metric:
    entries.only(("name", "goal", "target"), wandb_only=("impute", "impute_while_running"))
    if "name" not in entries:
        entries.fail("name is missing")
    given = str(entries.value("name"))
    name = metric_name(given)
    if name is None:
        near = suggestion(given, METRICS)
        entries.fail(f"{given}: no cell records this; valid is {', '.join(METRICS)}.{near}", "name")
    goal = entries.value("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        entries.fail(f"{goal}: valid is minimize, maximize", "goal")
    return Metric(name, goal == "maximize", entries.number("target") if "target" in entries else None)


def _early_terminate(entries: Entries) -> Hyperband:
    entries.only(("type", "min_iter", "max_iter", "s", "eta", "strict"))
    kind = entries.value("type")
    if kind != "hyperband":
        entries.fail(f"{kind}: valid is hyperband", "type")
    eta = entries.number("eta", 3.0)
    if not eta > 1:
        entries.fail(f"{eta:g}: valid is more than 1", "eta")
    strict = entries.value("strict", False)
    if not isinstance(strict, bool):
        entries.fail(f"{strict}: valid is true, false", "strict")
    if "max_iter" in entries and "s" in entries:
        most, brackets = entries.whole("max_iter", 1), entries.whole("s", 1)
        bands = sorted(int(most / eta**number) for number in range(1, brackets + 1) if most / eta**number >= 1)
    elif "min_iter" in entries:
        least = entries.whole("min_iter", 1)
        bands = [int(least * eta**number) for number in range(100) if least * eta**number < 1e9]
    else:
        entries.fail("min_iter is missing, or max_iter and s")
    return Hyperband(tuple(bands), eta, strict)


def _command(top: Entries, varied: set[str]) -> tuple[str, ...]:
    """The command without what starts the program and without W&B's places for parameters: its overrides."""
    if "command" not in top:
        return ()
    file, (_, node) = top.file, top.nodes["command"]
    if not isinstance(node, yaml.SequenceNode):
        file.fail(node, "command: a list is needed")
    overrides: list[str] = []
    for each in node.value:
        (text,) = home.quoted([str(file.value(each))])
        if ARGUMENTS.fullmatch(text) or Path(text).name == "run.py":
            continue
        if not overrides and LAUNCHERS.fullmatch(text):
            continue
        if text.startswith("-") or "${" in text.partition("=")[0] or not re.match(r"[+~]|[\w./@]+=", text):
            file.fail(each, f"command: {text}: only overrides (KEY=VALUE) are understood without W&B's server")
        if text.partition("=")[0] in varied:
            file.fail(each, f"command: {text}: parameters vary this already")
        try:
            check_override(text)
        except InvalidInput as error:
            file.fail(each, f"command: {error}")
        overrides.append(text)
    return tuple(overrides)


def _parameters(entries: Entries, prefix: str, method: str) -> Iterator[Parameter]:
    """The parameters, those of nested ones under dotted names."""
    for key, (at, node) in entries.nodes.items():
        name, file = f"{prefix}{key}", entries.file
        if not isinstance(node, yaml.MappingNode):
            given = file.value(node)
            file.fail(at, f"{name}: value, values or a distribution is needed, say {{value: {given}}}")
        inner = file.mapping(node, name, at)
        if "parameters" in inner:
            inner.only(("parameters",))
            yield from _parameters(inner.mapping("parameters"), f"{name}.", method)
            continue
        distribution = read_distribution(inner)
        if method == "grid" and values(distribution) is None:
            inner.fail("a grid goes through values, int_uniform or q_uniform; for others use method: random")
        if name in OF_THE_GRID and len(values(distribution) or ()) != 1:
            inner.fail(f"the grid reads this, not each cell: one value, say {name}: {{value: ..}}")
        _check(inner, distribution)
        yield Parameter(name, distribution)


def _check(parameter: Entries, distribution: Distribution) -> None:
    """Whether the setting takes what is given, of several values each with its own line."""
    parts: list[tuple[yaml.Node, Distribution]] = [(parameter.at, distribution)]
    if isinstance(distribution, Categorical):
        listed = parameter.nodes["values"][1].value
        parts = [(node, Constant(value)) for node, value in zip(listed, distribution.values, strict=True)]
    for at, part in parts:
        try:
            check_parameter(parameter.what, part)
        except InvalidInput as error:
            parameter.file.fail(at, str(error))
