"""What an agent hands out, as overrides that Hydra understands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from simclr.config import settings
from simclr.config.cell import describe
from simclr.sweep.space import text_of
from simclr.tracking import agent
from tests.conftest import Compose

OWN = ["experiment=imagenet5", "on_invalid=skip", "root=here"]
CLIENT = {"m": [{"1": "pretrain/epoch"}], "t": {"4": "3.11.7"}, "cli_version": "0.31.0"}


def passed_on(handed: Mapping[str, Any]) -> list[str]:
    """As ``${args_no_hyphens}`` has it."""
    return [f"{key}={value}" for key, value in handed.items()]


def logged(config: Any, **more: Any) -> dict[str, Any]:
    """All that a run of this configuration has logged by the time that it is preempted."""
    return {
        **{key: value for key, _, value in settings(config) if key != "root" and not key.startswith("tracking.")},
        "cell": "digits-small_cnn-two_relu-relu_1-s0-12345678",
        "layer.index": None,
        **more,
        "_wandb": CLIENT,
    }


def test_a_first_run_is_left_as_it_is() -> None:
    handed = {"head": "two_relu", "probe.layer": -4}
    assert agent.sweep_arguments(OWN + passed_on(handed), handed) == [*OWN, "head=two_relu", "probe.layer=-4"]


def test_values_are_spelled_as_hydra_has_them() -> None:
    handed = {"optimizer.decay_steps": None, "head.hidden": [256, 128], "optimizer.learning_rate": 1e-05}
    assert agent.sweep_arguments(passed_on(handed), handed) == [
        "optimizer.decay_steps=null",
        "head.hidden=[256,128]",
        "optimizer.learning_rate=1e-05",
    ]


def test_a_resumed_run_has_only_the_sweeps_parameters(composed: Compose) -> None:
    config = composed("head=two_relu", "probe.layer=-4", "root=there")
    sweep = {"head": "two_relu", "probe.layer": -4}
    handed = {**sweep, **logged(config, **{agent.PARAMETERS: ["head", "probe.layer"]}), **sweep}
    assert agent.sweep_arguments(OWN + passed_on(handed), handed) == [*OWN, "head=two_relu", "probe.layer=-4"]
    assert agent.sweep_arguments(passed_on(handed) + OWN, handed) == ["head=two_relu", "probe.layer=-4", *OWN]


def test_the_order_in_which_they_are_handed_out_does_not_matter(composed: Compose) -> None:
    config = composed("head=none")
    handed = dict(sorted({"head": "none", **logged(config, **{agent.PARAMETERS: ["head"]})}.items()))
    assert agent.sweep_arguments(OWN + passed_on(handed), handed) == [*OWN, "head=none"]


@pytest.mark.parametrize("own", [(), ("seed=4", "pretrain.epochs=3"), ("experiment=documents",)])
def test_without_the_parameters_names_the_cell_is_still_the_same(composed: Compose, own: tuple[str, ...]) -> None:
    config = composed(*own, "head=one_relu", "probe.layer=-2", "probe.flip=true", "pretrain.monitor_epochs=0")
    handed = {"head": "one_relu", "probe.layer": -2, **logged(config)}
    found = agent.sweep_arguments([*own, *passed_on(handed)], handed)
    keys = {text.partition("=")[0] for text in found}
    assert not {"_wandb", "cell", "layer.index", "pretrain.monitor_epochs", "data.root", "on_invalid"} & keys
    again, before = (describe(each, "0" * 64) for each in (composed(*found), config))
    assert (again.name, again.key) == (before.name, before.key)


def test_a_parameter_that_decides_nothing_is_kept_where_the_sweep_has_it() -> None:
    handed = {"data.root": "/images", "root": "old", agent.PARAMETERS: ["data.root"], "_wandb": CLIENT}
    assert agent.sweep_arguments(["root=new", *passed_on(handed)], handed) == ["root=new", "data.root=/images"]


def test_outside_an_agent_nothing_is_changed() -> None:
    arguments = ["head=none", "_wandb={'m': []}", "--cfg", "job"]
    assert agent.overrides(arguments, {}) == arguments
    assert agent.overrides(arguments, {agent.HANDED_OUT: "missing.yaml", "WANDB_SWEEP_ID": "s"}) == arguments


def test_what_is_handed_out_is_read_from_the_agents_file(tmp_path: Path) -> None:
    path = tmp_path / "config-run.yaml"
    content = {"head": {"value": "none"}, "probe.layer": {"value": -2}, "_wandb": {"value": {"m": []}}}
    path.write_text("wandb_version: 1\n\n" + yaml.safe_dump(content, sort_keys=False))
    environment = {agent.HANDED_OUT: str(path), "WANDB_SWEEP_ID": "s"}
    assert agent.handed_out(environment) == {"head": "none", "probe.layer": -2, "_wandb": {"m": []}}
    arguments = ["seed=1", "head=none", "probe.layer=-2", "_wandb={'m': []}"]
    assert agent.overrides(arguments, environment) == ["seed=1", "head=none", "probe.layer=-2"]
    path.write_text("head: [")
    assert agent.overrides(arguments, environment) == arguments


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.from_regex(r"[a-z][a-z_0-9]{2,8}x", fullmatch=True),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@given(VALUES)
def test_hydra_reads_a_spelled_value_as_what_it_was(value: Any) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"key={text_of(value)}"])
    read = override.value()
    assert json.dumps(read) == json.dumps(value)


KEYS = st.from_regex(r"[a-z]{1,5}(\.[a-z]{1,5})?", fullmatch=True)


@given(st.dictionaries(KEYS, VALUES, max_size=6), st.dictionaries(KEYS, VALUES, max_size=6), st.lists(KEYS, max_size=3))
def test_what_a_resumed_run_means_is_what_the_first_one_meant(
    sweep: dict[str, Any], others: dict[str, Any], own: list[str]
) -> None:
    commands = [f"own.{key}=1" for key in own]
    first = agent.sweep_arguments(commands + passed_on(sweep), sweep)
    handed = {**sweep, **{f"logged.{key}": value for key, value in others.items()}}
    handed |= {agent.PARAMETERS: list(sweep), "_wandb": CLIENT}
    assert agent.sweep_arguments(commands + passed_on(handed), handed) == first
