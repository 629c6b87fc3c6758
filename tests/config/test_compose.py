"""Many configurations at once: the same as Hydra and the schema make of the same overrides, one by one."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf.errors import OmegaConfBaseException

from simclr.config.compose import Composer
from simclr.config.validation import resolve
from simclr.foundation.errors import InvalidInput

CONF = Path(__file__).parents[2] / "conf"
GROUPS = {
    folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in CONF.iterdir() if folder.is_dir()
}


@pytest.fixture(scope="module")
def composer():
    return Composer()


def by_hydra(overrides):
    """What Hydra and the schema make of the overrides, or None where they refuse them."""
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return resolve(compose("config", list(overrides)))
    except (HydraException, OmegaConfBaseException, ValueError):
        return None


def ours(composer, overrides):
    try:
        return composer(overrides)
    except InvalidInput as error:
        return None if "\n" not in str(error) else error


CHOICES = st.sampled_from([f"{group}={option}" for group, options in GROUPS.items() for option in options])
PLAIN = st.one_of(
    st.builds("seed={}".format, st.integers(-2, 10**6)),
    st.builds("probe.layer={}".format, st.integers(-8, 0) | st.sampled_from(["relu_1", "'-4'", "stage_2", "true"])),
    st.builds("optimizer.learning_rate={!r}".format, st.floats(1e-9, 2000)),
    st.builds("optimizer.weight_decay={}".format, st.sampled_from(["0", "1", "1e-4", "1.5E-3", ".5", "1_0", "nan"])),
    st.builds("optimizer.decay_steps={}".format, st.sampled_from(["null", "7", "0", "none"])),
    st.builds("pretrain.sizes={}".format, st.sampled_from(["[[16,1]]", "[[8,0.5],[16.0,0.5]]", "[]", "[[8]]", "3"])),
    st.builds("encoder.widths={}".format, st.sampled_from(["[1,2,3]", "[1,2,3,4]", "[1.5,2,3]", "null", "[]"])),
    st.builds("pretrain.epochs={}".format, st.sampled_from(["3", "3.0", "'3'", "many", "-1", "007", "???"])),
    st.builds("probe.flip={}".format, st.sampled_from(["true", "False", "auto", "perhaps", "'true'"])),
    st.builds("tracking.tags={}".format, st.sampled_from(["[a,b]", "[]", "[1]"])),
    st.builds("tracking.project={}".format, st.sampled_from(["x", "3", "'a b'", "a/b", "", "x-1", "null", "[1]"])),
    st.builds("data.image_size={}".format, st.integers(7, 12)),
    st.sampled_from(
        [
            "probe.image_size=${data.image_size}",
            "probe.image_size=${seed}",
            "probe.image_size=${encoder.widths.0}",
            "probe.neighbours=[1,${probe.subsets}]",
            "pretrain.sizes=[[${data.image_size},1.0]]",
            "probe.subsets=${pretrain.epochs}",
            "seed=${oc.env:HOME}",
            "tracking.group=${head.name}-${tracking.project}",
            "data.root=here",
            "head={output: 7}",
            "head.name=none",
            "~probe.flip",
            "~experiment",
            "++pretrain.batch_size=7",
            "+pretrain.batch_size=7",
            "+colour=blue",
            "hed=none",
            "head=four_relu",
            "head=null",
            "experiment=null",
            "hydra.verbose=true",
            "pretrain.temperature=0.1,0.2",
            "seed=range(3)",
            "nonsense",
        ]
    ),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(CHOICES | PLAIN, max_size=6))
def test_any_overrides_mean_what_hydra_makes_of_them(composer, overrides):
    assert ours(composer, overrides) == by_hydra(overrides)


@settings(max_examples=12, deadline=None)
@given(st.lists(PLAIN, min_size=1, max_size=3))
def test_plain_values_mean_what_hydra_makes_of_them(composer, overrides):
    assert ours(composer, overrides) == by_hydra(overrides)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("head=four_relu", "head=four_relu: there is no such option; valid is none, one_relu, three_relu"),
        ("pretrain.epoch=3", 'pretrain.epoch=3: there is no such key. Did you mean "pretrain.epochs"'),
        ("pretrain.epochs=many", "pretrain.epochs=many: valid is a whole number"),
        ("pretrain.temperature=0", "pretrain.temperature=0: valid is at least 0.01"),
        ("nonsense", "nonsense: not understood as KEY=VALUE"),
    ],
)
def test_what_is_not_valid_is_named(composer, override, says):
    with pytest.raises(InvalidInput, match=says):
        composer(["seed=1", override])


def test_configurations_made_together_are_those_made_one_by_one():
    points = [
        [f"head={head}", f"probe={probe}", f"data.image_size={size}", f"seed={seed}"]
        for head, probe, size, seed in product(["none", "one_relu"], ["knn", "linear"], [8, 16], [0, 1])
    ]
    assert list(map(Composer(), points)) == [by_hydra(point) for point in points]


def test_hydra_is_asked_once_for_each_combination_of_options_not_for_each_point():
    asked = []

    def counted(overrides):
        asked.append(overrides)
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("config", overrides)

    heads, probes = GROUPS["head"], GROUPS["probe"]
    points = [
        [f"head={head}", f"probe={probe}", f"seed={seed}"] for head in heads for probe in probes for seed in (0, 1)
    ]
    assert len(list(map(Composer(compose=counted), points))) == len(points)
    assert len(asked) == len(heads) * len(probes)


def test_a_point_that_is_not_valid_is_named_among_many():
    with pytest.raises(InvalidInput, match="seed=-1"):
        list(map(Composer(), [["seed=1"], ["seed=-1"]]))


IN_HYDRA = """
import hydra
from hydra.core.global_hydra import GlobalHydra
from simclr.config.compose import Composer

@hydra.main(version_base="1.3", config_path="{conf}", config_name="config")
def main(config):
    before = GlobalHydra.instance().hydra
    made = Composer()(["head=none", "seed=4"])
    print(made.head.name, made.seed, GlobalHydra.instance().hydra is before)

main()
"""


def test_it_works_inside_a_program_that_hydra_started(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(IN_HYDRA.format(conf=CONF))
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "none 4 True\n"
