"""What a ``wandb agent`` hands to the process that it starts, as overrides that Hydra understands.

The first time, these are the sweep's parameters. When a run was preempted, they are the parameters *and* all that the
run has logged to its configuration, the client's own notes among it: ``head=two_relu head.name=two_relu _wandb={...}``.
The sweep's parameters alone are then the cell; the rest follows from them, and some of it (a path) was true elsewhere.

The agent also leaves what it hands out in a file, so that it can be told from what the sweep's ``command`` says itself.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from simclr.config import Config, Decides, options, settings
from simclr.sweep.space import text_of

log = logging.getLogger(__name__)

HANDED_OUT = "WANDB_SWEEP_PARAM_PATH"
"""The variable with the path of the agent's file."""

PARAMETERS = "sweep.parameters"
"""The key under which a run logs the names of its sweep's parameters, for the process that resumes it."""

RESUMED = "_wandb"
"""Logged by the client in every run, and no setting of ours: where it is handed out, the run was there before."""

GROUPS = tuple(
    folder for folder in ("data", "encoder", "head", "augment", "loss", "optimizer", "probe", "experiment", "launch")
    if options(folder) is not None
)  # fmt: skip


def sweep(environment: Mapping[str, str]) -> str | None:
    """The sweep of the agent that started this process for one of its cells, None outside an agent."""
    return environment.get("WANDB_SWEEP_ID") or None


def overrides(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """A command line with what an agent handed out in a form that Hydra understands; outside an agent, the same."""
    return sweep_arguments(arguments, handed_out(environment))


def handed_out(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the agent that started this process hands out, by key, in its order; nothing outside an agent."""
    path = environment.get(HANDED_OUT)
    if not path or sweep(environment) is None:
        return {}
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        log.warning("what the agent hands out cannot be read: %s", error)
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: entry["value"] for key, entry in content.items() if isinstance(entry, dict) and "value" in entry}


def sweep_arguments(arguments: Sequence[str], handed: Mapping[str, Any]) -> list[str]:
    """A command line without what is no parameter of the sweep, each value in Hydra's spelling (``null`` for ``None``).

    It has what the sweep's ``command`` says itself and, in one piece, what the agent hands out, in the same order.

    >>> sweep_arguments(["seed=1", "head=none", "head.name=none", "_wandb={'m': []}", "sweep.parameters=['head']"],
    ...     {"head": "none", "head.name": "none", "_wandb": {"m": []}, "sweep.parameters": ["head"]})
    ['seed=1', 'head=none']
    """
    start = _start(arguments, list(handed))
    if start is None:
        return list(arguments)
    names = parameters(handed)
    kept = [f"{key}={text_of(value)}" for key, value in handed.items() if key in names]
    return [*arguments[:start], *kept, *arguments[start + len(handed) :]]


def parameters(handed: Mapping[str, Any]) -> list[str]:
    """The names of the sweep's parameters, among the keys that its agent hands out.

    A resumed run has logged them. Where it has not (another program's run, say), what the schema knows to decide
    something is taken for one: all of it together is the same cell.
    """
    if RESUMED not in handed:
        return list(handed)
    logged = handed.get(PARAMETERS)
    if isinstance(logged, list):
        return [str(name) for name in logged if name in handed]
    deciding = {key for key, field, _ in settings(Config) if field.metadata["decides"] is not Decides.NOTHING}
    return [key for key in handed if key in deciding or key in GROUPS]


def _start(arguments: Sequence[str], keys: list[str]) -> int | None:
    """Where the keys stand among the arguments, in one piece and in order."""
    given = [argument.partition("=")[0] for argument in arguments]
    starts = range(len(given) - len(keys) + 1) if keys else ()
    return next((start for start in starts if given[start : start + len(keys)] == keys), None)
