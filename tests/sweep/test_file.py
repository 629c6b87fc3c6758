"""Sweep files as their authors write them, and what they are told where something is wrong."""

from __future__ import annotations

import math
from textwrap import dedent

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from simclr.config.compose import Composer
from simclr.foundation.errors import InvalidInput
from simclr.sweep.distribution import (
    Beta,
    Categorical,
    Constant,
    IntUniform,
    LogNormal,
    LogUniform,
    Normal,
    Rounded,
    Uniform,
)
from simclr.sweep.file import read
from simclr.sweep.space import Hyperband, Metric, points, text_of

ABLATION = """\
    # Which layer of which head
    program: run.py
    method: grid
    name: ablation
    project: simclr
    metric:
      name: probe/test_accuracy
      goal: maximize
    parameters:
      probe.layer:
        values: [-2, -4, -6]
      head:
        values: [zero_relu, one_relu, two_relu]
    command:
      - ${env}
      - ${interpreter}
      - ${program}
      - on_invalid=skip
      - ${args_no_hyphens}
"""


@pytest.fixture
def sweep(tmp_path):
    """``sweep(text, "head=none")``: what is read from a file of this text."""

    def write(text, *overrides):
        path = tmp_path / "sweep.yaml"
        path.write_text(dedent(text))
        return read(path, overrides)

    return write


def of(sweep, **parameters):
    return {each.name: each.distribution for each in sweep.parameters}


def with_parameter(entries, name="optimizer.learning_rate", method="random"):
    return f"method: {method}\nparameters:\n  {name}: {{{entries}}}\n"


def test_a_grid_is_its_points_in_wandbs_order_with_the_commands_overrides(sweep):
    found = sweep(ABLATION)
    assert (found.name, found.method) == ("ablation", "grid")
    assert found.metric == Metric("probe/test_accuracy", maximize=True)
    assert found.overrides == ("on_invalid=skip",)
    listed = list(points(found))
    assert len(listed) == 9
    assert listed[:2] == [
        ("head=zero_relu", "probe.layer=-2", "on_invalid=skip"),
        ("head=zero_relu", "probe.layer=-4", "on_invalid=skip"),
    ]
    assert len(list(map(Composer(), listed))) == 9


def test_the_command_line_wins_over_the_file(sweep):
    assert list(points(sweep(ABLATION, "head=none", "on_invalid=error", "seed=3"))) == [
        (f"probe.layer={layer}", "head=none", "on_invalid=error", "seed=3") for layer in (-2, -4, -6)
    ]
    varied = sweep(ABLATION, "head=none,one_relu", "seed=range(2)")
    assert of(varied)["head"] == Categorical(("none", "one_relu"))
    assert len(list(points(varied))) == 12
    assert len(list(points(sweep(ABLATION, "run_cap=4")))) == 4


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("hed=none", 'hed=none: there is no such key. Did you mean "head"'),
        ("head=three", "head=three: there is no such option"),
        ("head=none,three", "head=three: there is no such option"),
        ("pretrain.temperature=0", "pretrain.temperature=0: valid is at least 0.01"),
        ("run_cap=none", "run_cap=none: valid is a whole number"),
        ("pretrain.temperature=interval(0.1,0.5)", "valid is one value, several with commas, or range"),
        ("nonsense", "not understood as KEY=VALUE"),
    ],
)
def test_a_bad_override_on_the_command_line_is_named(sweep, override, says):
    with pytest.raises(InvalidInput, match=says):
        sweep(ABLATION, override)


@pytest.mark.parametrize(
    ("entries", "distribution"),
    [
        ("value: 0.1", Constant(0.1)),
        ("distribution: constant, value: 0.1", Constant(0.1)),
        ("values: [0.1, 0.2]", Categorical((0.1, 0.2))),
        ("values: [0.1, 0.2], probabilities: [0.3, 0.7]", Categorical((0.1, 0.2), (0.3, 0.7))),
        ("distribution: categorical_w_probabilities, values: [1, 2], probabilities: [0.5, 0.5]", None),
        ("min: 0.1, max: 0.5", Uniform(0.1, 0.5)),
        ("min: 1, max: 2.5", Uniform(1, 2.5)),
        ("min: 1, max: 5", IntUniform(1, 5)),
        ("distribution: uniform, min: 1, max: 5", Uniform(1, 5)),
        ("distribution: int_uniform, min: 1, max: 5", IntUniform(1, 5)),
        ("distribution: q_uniform, min: 1, max: 5, q: 0.5", Rounded(Uniform(1, 5), 0.5)),
        ("distribution: q_uniform, min: 1, max: 5", Rounded(Uniform(1, 5), 1)),
        ("distribution: log_uniform, min: -3, max: 0", LogUniform(math.exp(-3), 1)),
        ("distribution: q_log_uniform, min: 0, max: 3, q: 2", Rounded(LogUniform(1, math.exp(3)), 2)),
        ("distribution: log_uniform_values, min: 1e-4, max: 0.1", LogUniform(1e-4, 0.1)),
        ("distribution: q_log_uniform_values, min: 1, max: 9, q: 2", Rounded(LogUniform(1, 9), 2)),
        ("distribution: inv_log_uniform, min: 1, max: 3", LogUniform(math.exp(-3), math.exp(-1))),
        ("distribution: inv_log_uniform_values, min: 0.1, max: 3", LogUniform(0.1, 3)),
        ("distribution: normal, mu: 2, sigma: 0.1", Normal(2, 0.1)),
        ("distribution: normal, mu: 1", Normal(1, 1)),
        ("distribution: q_normal, mu: 2, sigma: 0.1, q: 0.1", Rounded(Normal(2, 0.1), 0.1)),
        ("distribution: log_normal, mu: -2, sigma: 0.5", LogNormal(-2, 0.5)),
        ("distribution: log_normal_values, mu: -2, sigma: 0.5", LogNormal(-2, 0.5)),
        ("distribution: q_log_normal, mu: 2, sigma: 0.5, q: 2", Rounded(LogNormal(2, 0.5), 2)),
        ("distribution: beta, a: 2, b: 5", None),
        ("distribution: q_beta, a: 2, b: 5, q: 0.1", None),
    ],
)
def test_every_distribution_is_read_and_inferred_as_wandb_does(sweep, entries, distribution):
    name = "augment.flip" if "beta" in entries else "optimizer.warmup_epochs"
    (found,) = of(sweep(with_parameter(entries, name))).values()
    if distribution is not None:
        assert found == distribution
    else:
        assert isinstance(found, (Beta, Categorical)) or isinstance(found.of, Beta)


def test_nested_parameters_have_dotted_names(sweep):
    text = """\
        method: random
        parameters:
          head: {value: none}
          pretrain:
            parameters:
              temperature: {min: 0.1, max: 1.0}
              epochs: {values: [1, 2]}
        """
    assert of(sweep(text)) == {
        "head": Constant("none"),
        "pretrain.temperature": Uniform(0.1, 1.0),
        "pretrain.epochs": Categorical((1, 2)),
    }


def test_anchors_and_merges_are_yamls(sweep):
    text = """\
        method: random
        parameters:
          augment.hue: &small {min: 0.0, max: 0.1}
          augment.noise:
            <<: *small
            max: 0.2
        """
    assert of(sweep(text)) == {"augment.hue": Uniform(0, 0.1), "augment.noise": Uniform(0, 0.2)}


BAYES = """\
    method: bayes
    metric: {name: monitor/knn_accuracy, goal: maximize}
    run_cap: 7
    early_terminate: EARLY
    parameters:
      pretrain.temperature: {min: 0.1, max: 0.5}
    """


@pytest.mark.parametrize(
    ("early", "bands", "eta", "strict"),
    [
        ("{type: hyperband, min_iter: 3}", (3, 9, 27), 3, False),
        ("{type: hyperband, min_iter: 2, eta: 2, strict: true}", (2, 4, 8), 2, True),
        ("{type: hyperband, max_iter: 27, s: 2}", (3, 9), 3, False),
        ("{type: hyperband, max_iter: 27, s: 9}", (1, 3, 9), 3, False),
        ("{type: hyperband, max_iter: 10, s: 2, eta: 2}", (2, 5), 2, False),
    ],
)
def test_hyperbands_brackets_are_wandbs(sweep, early, bands, eta, strict):
    found = sweep(BAYES.replace("EARLY", early))
    assert found.run_cap == 7
    assert found.early_terminate == Hyperband(found.early_terminate.bands, eta, strict)
    assert found.early_terminate.bands[: len(bands)] == bands


REFUSED = [
    ("a: 1\nmethod: grid\nparameters: {head: {value: none}}", 1, "a: there is no such key in a sweep file"),
    ("method: grid\nparameter: {head: {value: none}}", 2, 'parameter: .*Did you mean "parameters"'),
    ("method: grid\ncontroller: {type: local}\nparameters: {}", 2, "controller: W&B understands this"),
    ("method: custom\nparameters: {}", 1, "method: W&B understands custom"),
    ("method: gird\nparameters: {}", 1, 'method: gird: valid is grid, random, bayes. Did you mean "grid"'),
    ("program: train.py\nmethod: grid\nparameters: {head: {value: none}}", 1, "program: train.py: this runs run.py"),
    ("method: grid\n", 1, "parameters is missing"),
    ("method: grid\nparameters: {}", 2, "parameters: at least one is needed"),
    ("method: grid\nparameters:\n  hed: {value: none}", 3, 'hed: there is no such key. Did you mean "head"'),
    ("method: grid\nparameters:\n  head:\n    values:\n      - none\n      - three", 6, "head=three: .*no such option"),
    ("method: grid\nparameters:\n  pretrain.epochs: {values: [1,\n 0]}", 4, "pretrain.epochs=0: valid is at least 1"),
    ("method: grid\nparameters:\n  pretrain.epochs: {value: many}", 3, "pretrain.epochs=many: valid is a whole number"),
    ("method: grid\nparameters:\n  pretrain:\n    parameters:\n      epoch: {value: 1}", 5, "pretrain.epoch: .*epochs"),
    ("method: grid\nparameters:\n  head: none", 3, "head: value, values or a distribution is needed"),
    ("method: grid\nparameters:\n  head: {valeus: [none]}", 3, 'head: valeus: .*Did you mean "values"'),
    (
        "method: grid\nparameters:\n  head:\n    values: [none]\n    condition: {data: digits}",
        5,
        "head: categorical: condition: there is no such key; valid is distribution, probabilities, values",
    ),
    ("method: grid\nparameters:\n  head: {values: []}", 3, "head: values: a list of at least one"),
    ("method: grid\nparameters:\n  head: {value: none}\n  head: {value: none}", 4, "head: is there twice"),
    (with_parameter("min: 0.1, max: 0.5", method="grid"), 3, "a grid goes through values"),
    (with_parameter("min: 0.1, max: 5000.0"), 3, "optimizer.learning_rate=5000: valid is more than 0, at most 1,000"),
    (with_parameter("min: 0.5, max: 0.1"), 3, "min: 0.5 is above max: 0.1"),
    (with_parameter("min: small, max: 0.1"), 3, "min: small: valid is a number"),
    (with_parameter("distribution: log_unifrom, min: 1, max: 2"), 3, 'Did you mean "log_uniform"'),
    (with_parameter("distribution: log_uniform_values, min: 0, max: 2"), 3, "min: 0: valid is more than 0"),
    (with_parameter("distribution: log_uniform, min: 1, max: 1000"), 3, "takes exponents of e"),
    (with_parameter("distribution: log_uniform, min: -1000, max: 1"), 3, "takes exponents of e"),
    (with_parameter("distribution: inv_log_uniform, min: 1, max: 1000"), 3, "takes exponents of e"),
    (with_parameter("distribution: uniform, min: 1"), 3, "uniform: max is missing"),
    (with_parameter("distribution: normal, mu: 1, sigma: -1"), 3, "sigma: -1: valid is at least 0"),
    (with_parameter("distribution: q_normal, mu: 1, q: 0"), 3, "q: 0: valid is more than 0"),
    (with_parameter("distribution: beta, a: 0"), 3, "a and b are more than 0"),
    (with_parameter("values: [1, 2], probabilities: [1]"), 3, "probabilities: one for each value"),
    (with_parameter("min: 0.1, max: 2.5", "pretrain.epochs"), 3, "pretrain.epochs: takes whole numbers"),
    (with_parameter("min: 1, max: 2", "encoder.stem"), 3, "encoder.stem: takes no numbers"),
    ("method: bayes\nparameters:\n  seed: {values: [1]}", 1, "metric is missing"),
    (BAYES.replace("goal: maximize", "goal: most").replace("EARLY", "{type: hyperband, min_iter: 1}"), 2, "goal: most"),
    (BAYES.replace("monitor/knn", "monitor/kn").replace("EARLY", "{}"), 2, 'Did you mean "monitor/knn_accuracy"'),
    (BAYES.replace("goal:", "impute: worst, goal:"), 2, "metric: impute: W&B understands this"),
    (BAYES.replace("EARLY", "{type: envelope}"), 4, "early_terminate: type: envelope: valid is hyperband"),
    (BAYES.replace("EARLY", "{type: hyperband}"), 4, "min_iter is missing, or max_iter and s"),
    (BAYES.replace("EARLY", "{type: hyperband, min_iter: 1, eta: 1}"), 4, "eta: 1: valid is more than 1"),
    (BAYES.replace("EARLY", "{type: hyperband, min_iter: 0}"), 4, "min_iter: 0: valid is a whole number, at least 1"),
    (BAYES.replace("EARLY", "{type: hyperband, min_iter: 1}").replace("7", "some"), 3, "run_cap: some"),
    (ABLATION + "    early_terminate: {type: hyperband, min_iter: 1}\n", 20, "a grid's cells share their pretrainings"),
    (ABLATION.replace("- on_invalid", "- --verbose\n      - on_invalid"), 18, "command: --verbose: only overrides"),
    (ABLATION.replace("on_invalid=skip", "head=none"), 18, "command: head=none: parameters vary this already"),
    (ABLATION.replace("on_invalid=skip", "on_invalid=skp"), 18, 'on_invalid=skp: .*Did you mean "skip"'),
    ("method: grid\nparameters: {head: {value: [none}}", 2, "expected"),
    ("- 1\n- 2\n", 1, "a sweep file: keys with values are needed"),
]


@pytest.mark.parametrize(("text", "line", "says"), REFUSED)
def test_what_is_not_understood_is_refused_with_its_line(sweep, tmp_path, text, line, says):
    with pytest.raises(InvalidInput, match=says) as caught:
        sweep(text)
    assert str(caught.value).startswith(f"{tmp_path / 'sweep.yaml'}, line {line}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_empty_is_refused(sweep, tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read"):
        read(tmp_path / "nowhere.yaml")
    with pytest.raises(InvalidInput, match="is empty"):
        sweep("# nothing\n")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(VALUES)
def test_a_value_arrives_as_it_was_meant(value):
    (override,) = OverridesParser.create().parse_overrides([f"key={text_of(value)}"])
    assert override.value() == value


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" "), max_size=8))
def test_any_text_arrives_as_one_value(text):
    (override,) = OverridesParser.create().parse_overrides([f"key={text_of(text)}"])
    assert not override.is_sweep_override()
