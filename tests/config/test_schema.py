"""The schema and what is composed from it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from simclr.config import Config, Decides, Range, settings
from simclr.config.validation import resolve
from simclr.foundation.errors import InvalidInput

CONF = Path(__file__).parents[2] / "conf"
OPTIONS = sorted(
    f"{file.parent.name}={file.stem}" for file in CONF.glob("*/*.yaml") if file.stem not in ("folder", "hub")
)


def test_every_setting_says_what_it_decides():
    def undeclared(schema: type) -> list[str]:
        found = []
        for each in fields(schema):
            nested = each.default_factory
            if isinstance(nested, type) and is_dataclass(nested):
                found += undeclared(nested)
            elif not isinstance(each.metadata.get("decides"), Decides):
                found.append(f"{schema.__name__}.{each.name}")
        return found

    assert undeclared(Config) == []


NEEDS = {"launch=gpus": "ray", "launch=ray": "ray", "launch=slurm": "submitit"}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_to_a_valid_configuration(composed, option):
    if option in NEEDS:
        pytest.importorskip(NEEDS[option], reason="an extra that is not installed")
    coloured = option.startswith("transfer=") and option != "transfer=digits"
    composed(option, *(["data=imagenet5"] if coloured else []))


@pytest.mark.parametrize(
    ("overrides", "augment"),
    [
        ([], "affine"),
        (["data=digits"], "affine"),
        (["data=imagenet5"], "simclr"),
        (["data=folder", "data.root=somewhere"], "simclr"),
        (["data=digits", "augment=simclr"], "simclr"),
        (["augment=affine", "data=imagenet5"], "affine"),
        (["experiment=documents"], "documents"),
        (["experiment=documents", "augment=simclr"], "simclr"),
    ],
)
def test_a_data_option_brings_its_augmentation_unless_one_is_asked_for(composed, overrides, augment):
    assert composed(*overrides).augment.name == augment


def test_the_documents_experiment_is_theirs_to_the_letter(composed):
    config = composed("experiment=documents")
    assert (config.encoder.name, config.data.name, config.data.image_size) == ("resnet50", "imagenet5", 224)
    assert (config.optimizer.name, config.optimizer.learning_rate, config.optimizer.decay_steps) == ("sgd", 0.1, 1000)
    assert (config.optimizer.momentum, config.optimizer.schedule, config.optimizer.warmup_epochs) == (0, "cosine", 0)
    assert (config.pretrain.batch_size, config.pretrain.epochs, config.seed) == (64, 200, 666)
    assert (config.pretrain.temperature, config.head.name, config.probe.name) == (0.1, "two_relu", "documents")
    assert config.pretrain.sizes == [[224, 1.0]]


def test_the_long_recipe_is_the_short_one_for_longer(composed):
    short, long = composed("experiment=imagenet5"), composed("experiment=imagenet5_long")
    changed = {
        key for (key, _, one), (_, _, other) in zip(settings(short), settings(long), strict=True) if one != other
    }
    assert changed == {"pretrain.epochs", "optimizer.warmup_epochs"}
    assert long.pretrain.epochs > short.pretrain.epochs


@pytest.mark.parametrize("experiment", ["imagenet5", "imagenet5_long"])
def test_a_recipe_keeps_the_ways_that_its_figures_were_measured_with(composed, experiment):
    paper, recipe = composed("augment=simclr").augment, composed(f"experiment={experiment}").augment
    assert (paper.crop_fit, paper.blur_draw) == ("redrawn", "uniform")
    assert (recipe.crop_fit, recipe.blur_draw, recipe.blur_sigma) == ("clipped", "log_uniform", [0.0004, 0.009])


def test_training_and_probing_happen_at_the_images_size_unless_told_otherwise(composed):
    config = composed("data.image_size=24")
    assert config.pretrain.sizes == [[24, 1.0]]
    assert config.probe.image_size == 24


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("pretrain.temperature=0", "pretrain.temperature=0: valid is at least 0.01"),
        ("pretrain.epochs=0", "pretrain.epochs=0: valid is at least 1"),
        ("pretrain.batch_size=-3", "pretrain.batch_size=-3"),
        ("pretrain.precision=float61", 'Did you mean "float16"|Did you mean "float32"|valid is auto, float32'),
        ("optimizer.learning_rate=0", "optimizer.learning_rate=0: valid is more than 0"),
        ("optimizer.learning_rate=inf", "optimizer.learning_rate=inf"),
        ("probe.label_fraction=1.5", "probe.label_fraction=1.5: valid is more than 0, at most 1"),
        ("probe.flip=perhaps", "probe.flip=perhaps: valid is auto, true, false"),
        ("encoder.widths=[32]", "encoder.widths=\\[32\\]: one width per stage"),
        ("head.hidden=[32]", r"head.hidden=\[32\]: head=two_relu needs 2 widths, .*say \[256,128\]"),
        ("head=one_relu head.hidden=[]", r"head.hidden=\[\]: head=one_relu needs one width, .*say \[256\]"),
        ("head=three_relu head.hidden=[9,8]", r"head.hidden=\[9,8\]: head=three_relu needs 3 .*say \[256,256,128\]"),
        ("head.norm=group", "head.norm=group: valid is none, batch"),
        ("head.norm=batch pretrain.microbatch=1", "pretrain.microbatch=1 head.norm=batch: valid is at least 2"),
        (
            "encoder.norm=group head.norm=batch pretrain.microbatch=32 pretrain.strategy=mirrored",
            "pretrain.microbatch=32 pretrain.strategy=mirrored: valid with head.norm=none",
        ),
        ("loss.sigma=0", "loss.sigma=0: valid is at least 0.01"),
        ("loss.name=dclw", 'loss.name=dclw: valid is dcl, nt_xent. Did you mean "dcl"'),
        ("augment.crop_area=[0.9,0.2]", "augment.crop_area.*the smaller one first"),
        ("augment.crop_fit=redrawm", 'valid is clipped, redrawn. Did you mean "redrawn"'),
        ("augment.blur_sigma=[0,0.01]", r"augment.blur_sigma=\[0,0.01\] augment.blur_draw=log_uniform: 0 has no log"),
        ("augment.flip=2", "augment.flip=2: valid is at least 0, at most 1"),
        ("augment=documents augment.local_views=2", "augment.local_views=2.*valid is 0"),
        ("augment.local_views=2 pretrain.microbatch=32", "augment.local_views=2 pretrain.microbatch=32: valid is one"),
        ("pretrain.sizes=[]", "pretrain.sizes"),
        ("pretrain.sizes=[[32]]", "a list of \\[side in pixels, share of the steps\\]"),
        ("pretrain.sizes=[32,0.5]", "a list of \\[side in pixels, share of the steps\\]"),
        ("pretrain.sizes=[[32,0.5]]", "add up to 0.5, not to 1"),
        ("pretrain.sizes=[[32.5,1]]", "a side of 32.5 pixels"),
        ("pretrain.sizes=[[32,0],[16,1]]", "a share of 0"),
        ("seed=-1", "seed=-1"),
        ("transfer.root=elsewhere", "transfer.root=elsewhere: which images.*transfer=NAME"),
    ],
)
def test_a_value_out_of_its_range_is_named_with_what_is_valid(composed, override, says):
    with pytest.raises(InvalidInput, match=says) as caught:
        composed(*override.split())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("override", ["encoder.widths=[1,2,3,4]", "encoder.blocks=[1,1,1,1]"])
def test_keras_own_resnet_keeps_its_shape(composed, override):
    with pytest.raises(InvalidInput, match="resnet50 is Keras's own"):
        composed("encoder=resnet50", override)


def test_a_folder_of_images_needs_its_place(composed):
    with pytest.raises(InvalidInput, match="data.root"):
        composed("data=folder")


@pytest.mark.parametrize(("given", "meant"), [("true", "true"), ("False", "false"), ("auto", "auto")])
def test_yaml_booleans_are_understood_where_auto_is_an_option(composed, given, meant):
    assert composed(f"probe.flip={given}").probe.flip == meant


def test_sizes_are_whole_pixels_and_shares(composed):
    assert composed("pretrain.sizes=[[32,0.25],[48.0,0.75]]").pretrain.sizes == [[32, 0.25], [48, 0.75]]


def test_an_unknown_key_of_a_program_is_refused_by_name(composed):
    config = OmegaConf.structured(composed())
    OmegaConf.set_struct(config, False)
    with pytest.raises(InvalidInput, match="temprature"):
        resolve(OmegaConf.create({"pretrain": {"temprature": 1}}))


@pytest.mark.parametrize(
    ("valid", "value", "inside"),
    [
        (Range(0, 1), 0, True),
        (Range(0, 1, above=True), 0, False),
        (Range(0, 1), 1, True),
        (Range(0, 1), 1.01, False),
        (Range(0), float("nan"), False),
        (Range(0), float("inf"), False),
    ],
)
def test_a_range_includes_its_ends_and_finite_numbers_only(valid, value, inside):
    assert (value in valid) is inside


def test_cifar10_has_simclrs_own_settings_for_it(composed):
    config = composed("experiment=cifar10")
    assert (config.data.name, config.data.image_size, config.encoder.name, config.encoder.stem) == (
        "cifar10",
        32,
        "resnet18",
        "cifar",
    )
    assert (config.pretrain.temperature, config.pretrain.batch_size, config.pretrain.epochs) == (0.5, 512, 1000)
    views = config.augment
    assert (views.blur, views.jitter, views.grey, views.crop_area) == (0.0, 0.8, 0.2, [0.08, 1.0])
    assert (views.brightness, views.contrast, views.saturation, views.hue) == (0.4, 0.4, 0.4, 0.1)
    assert (config.probe.label_fraction, config.probe.flip) == (1.0, "false")
