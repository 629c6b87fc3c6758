"""Identity: which changes make another pretraining, another cell, or nothing new."""

from __future__ import annotations

import dataclasses
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from simclr.config import Config, Decides, settings
from simclr.config.cell import (
    ImpossibleCell,
    cell_identity,
    describe,
    fingerprint,
    head_layers,
    idle,
    pretraining_identity,
    probed_layer,
    skipped_name,
)

DIGEST = "d" * 64

LOSS = ("loss=dcl", "loss.weighted=true")


def changed(config: Config, key: str) -> Config:
    """The configuration with one setting changed to another value of its kind."""
    other = deepcopy(config)
    *path, name = key.split(".")
    owner = other
    for part in path:
        owner = getattr(owner, part)
    value = getattr(owner, name)
    replaced = {
        "pretrain.sizes": [[24, 1.0]],
        "pretrain.precision": "mixed_float16",
        "head.name": "one_relu",
        "head.norm": "none" if value == "batch" else "batch",
        "probe.layer": "encoder",
        "probe.flip": "false",
        "probe.crop": "whole",
        "optimizer.decay_steps": 7,
    }
    if key in replaced:
        new = replaced[key]
    elif isinstance(value, bool) or value is None:
        new = not value
    elif isinstance(value, list):
        new = [*value[:-1], value[-1] + 1] if value else ["new"]
    else:
        new = f"{value}x" if isinstance(value, str) else value + 1
    setattr(owner, name, new)
    return other


KEYS = [(key, field.metadata["decides"]) for key, field, _ in settings(Config)]


@pytest.mark.parametrize(("key", "decides"), KEYS, ids=[key for key, _ in KEYS])
def test_a_setting_changes_exactly_what_it_declares(composed, key, decides):
    # A configuration in which every setting counts, but for the one that another probe has.
    probe = "probe=knn" if key == "probe.neighbours" else "probe=finetune"
    network, views = (
        ("encoder=small_resnet", "head.norm=batch", "optimizer=lars", *LOSS),
        ("augment=simclr", "augment.blur=0.5", "augment.local_views=2"),
    )
    config = composed("probe.layer=relu_1", "pretrain.precision=float32", probe, "transfer=digits", *network, *views)
    before, after = describe(config, DIGEST), describe(changed(config, key), DIGEST)
    assert (before.key != after.key) is (decides is Decides.WEIGHTS)
    assert (before.name.split("-")[-1] != after.name.split("-")[-1]) is (decides in (Decides.WEIGHTS, Decides.CELL))


@pytest.mark.parametrize(
    ("overrides", "decides_nothing"),
    [
        (["optimizer=adamw"], {"optimizer.momentum", "optimizer.trust_coefficient"}),
        (["optimizer=sgd"], {"optimizer.trust_coefficient"}),
        (["optimizer=lars"], set()),
        (["optimizer.schedule=constant"], {"optimizer.decay_steps"}),
        (["encoder=small_cnn"], {"encoder.stem", "encoder.shortcut"}),
        (["encoder=small_resnet", "encoder.norm=group"], {"encoder.norm_momentum"}),
        (
            ["encoder.norm=group", "head.norm=none"],
            {"encoder.norm_momentum", "head.norm_momentum", "pretrain.statistics"},
        ),
        (["head.norm=none"], {"head.norm_momentum"}),
        (["head=none"], {"head.hidden", "head.output", "head.norm", "head.norm_momentum"}),
        (["loss=dcl", "loss.weighted=false"], {"loss.sigma"}),
        (["loss=nt_xent"], {"loss.weighted", "loss.sigma"}),
        (["encoder=resnet50"], {"encoder.stem", "encoder.shortcut", "encoder.norm_momentum"}),
        (["augment.jitter=0"], {f"augment.{name}" for name in ("brightness", "contrast", "saturation", "hue")}),
        (["augment.local_views=0"], {"augment.local_area"}),
        (
            ["augment.local_views=0", "augment.crop_area=[1.0,1.0]"],
            {"augment.local_area", "augment.crop_aspect", "augment.crop_fit"},
        ),
        (["augment.blur=0"], {"augment.blur_sigma", "augment.blur_draw"}),
    ],
    ids=lambda given: " ".join(sorted(given)),
)
def test_a_setting_that_another_one_makes_idle_is_no_difference(composed, overrides, decides_nothing):
    base = ["encoder=small_resnet", "optimizer=lars", "augment=simclr", "augment.blur=0.5", "augment.local_views=2"]
    base += ["head.norm=batch", *LOSS]
    base = [each for each in base if each.partition("=")[0] not in {other.partition("=")[0] for other in overrides}]
    config = composed(*base, *overrides)
    key = describe(config, DIGEST).key
    deciding = [name for name, decides in KEYS if decides is Decides.WEIGHTS and not name.endswith(".name")]
    assert {name for name in deciding if describe(changed(config, name), DIGEST).key == key} == decides_nothing


@pytest.mark.parametrize(
    "overrides",
    [
        ["augment=affine", "augment.crop_area=[0.5,1.0]", "augment.blur=0.5"],
        ["augment=simclr", "augment.crop_fit=clipped", "augment.blur=0.5", "augment.blur_draw=log_uniform"],
        ["experiment=imagenet5", "augment.blur=0.5"],
        ["experiment=imagenet5_long"],
        ["experiment=documents"],
    ],
    ids=" ".join,
)
def test_what_was_trained_before_crops_were_redrawn_keeps_its_key(composed, overrides):
    identity = pretraining_identity(composed(*overrides), DIGEST)
    assert {"augment.crop_area", "augment.blur"} < set(identity)
    assert not {"augment.crop_fit", "augment.blur_draw"} & set(identity)


def test_what_was_trained_before_there_were_losses_and_norms_of_heads_keeps_its_key(composed):
    recipe = ["experiment=imagenet5", "pretrain.epochs=360", "pretrain.batch_size=128", "augment.local_views=0"]
    identity = pretraining_identity(composed(*recipe, "pretrain.precision=float32"), DIGEST)
    assert not {key for key in identity if key.startswith(("loss.", "head.norm"))}
    assert fingerprint(identity)[:16] == "849239681290c069"


def test_other_data_are_another_pretraining(composed):
    config = composed()
    assert describe(config, DIGEST).key != describe(config, "e" * 64).key


def test_how_a_network_would_be_trained_is_no_part_of_a_probe_on_frozen_features(composed):
    names = {describe(composed("probe=linear", f"probe.epochs={epochs}"), DIGEST).name for epochs in (7, 8)}
    assert len(names) == 1


def test_automatic_precision_is_the_one_it_stands_for(composed):
    from simclr.foundation.machine import resolve_precision

    explicit = composed(f"pretrain.precision={resolve_precision('auto')}")
    assert describe(composed(), DIGEST).key == describe(explicit, DIGEST).key


@pytest.mark.parametrize(
    ("head", "override", "same"),
    [
        ("one_relu", "head.hidden=[256,7]", True),
        ("one_relu", "head.hidden=[7,128]", False),
        ("zero_relu", "head.hidden=[7,7]", True),
        ("zero_relu", "head.hidden=[]", True),
        ("three_relu", "head.hidden=[256,256,7]", False),
        ("three_relu", "head.hidden=[256,256,128,7]", True),
        ("none", "head.output=7", True),
        ("zero_relu", "head.output=7", False),
        ("two_relu", "head.hidden=[256,7]", False),
    ],
)
def test_a_width_that_the_head_does_not_have_is_no_difference(composed, head, override, same):
    keys = {describe(composed(f"head={head}", *extra), DIGEST).key for extra in ([], [override])}
    assert (len(keys) == 1) is same


@pytest.mark.parametrize(("index", "name"), [(-2, "relu_2"), (-4, "relu_1"), (-6, "encoder"), (-1, "projection")])
def test_an_index_and_the_name_it_stands_for_are_the_same_cell(composed, index, name):
    by_index, by_name = (describe(composed(f"probe.layer={layer}"), DIGEST) for layer in (index, name))
    assert by_index.layer == by_name.layer
    assert by_index.name == by_name.name


@pytest.mark.parametrize(
    ("head", "names"),
    [
        ("two_relu", ["projection", "relu_2", "dense_2", "relu_1", "dense_1", "encoder"]),
        ("one_relu", ["projection", "relu_1", "dense_1", "encoder"]),
        ("zero_relu", ["projection", "encoder"]),
        ("none", ["encoder"]),
    ],
)
def test_a_heads_layers_count_back_to_the_encoder(composed, head, names):
    config = composed(f"head={head}")
    layers = head_layers(config.encoder, config.head)
    assert [layer.name for layer in layers] == names
    assert [layer.index for layer in layers] == list(range(-1, -len(names) - 1, -1))


@pytest.mark.parametrize("layer", ["-6", "-5", "relu_2", "stage_9", "7", "nonsense"])
def test_a_layer_that_the_head_does_not_have_is_impossible(composed, layer):
    with pytest.raises(ImpossibleCell, match=f"probe.layer={layer}: head=one_relu has the layers -1 projection, -2"):
        probed_layer(composed("head=one_relu", f"probe.layer={layer}"))


def test_a_near_miss_gets_a_suggestion(composed):
    with pytest.raises(ImpossibleCell, match='Did you mean "relu_1"'):
        probed_layer(composed("probe.layer=relu1"))


def test_encoder_stages_are_layers_without_an_index(composed):
    layer = probed_layer(composed("encoder=small_resnet", "probe.layer=stage_2"))
    assert (layer.index, layer.name, layer.width) == (None, "stage_2", 64)


def test_a_cells_name_can_be_read(composed):
    name = describe(composed("seed=3", "probe.layer=-4"), DIGEST).name
    assert name.startswith("digits-small_cnn-two_relu-relu_1-s3-")
    assert len(name.rsplit("-", 1)[1]) == 8


def test_impossible_cells_have_names_of_their_own(composed):
    config = composed("head=one_relu", "probe.layer=-6")
    assert skipped_name(config, DIGEST).startswith("digits-small_cnn-one_relu-layer-6-s0-")
    assert "probe.layer" in cell_identity(config, DIGEST)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@examples(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(), JSON))
def test_the_order_of_an_identity_does_not_matter(identity):
    backwards = dict(reversed(identity.items()))
    assert fingerprint(identity) == fingerprint(backwards)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, b"bytes", [float("-inf")]])
def test_a_value_without_a_stable_identity_is_refused(value):
    with pytest.raises(TypeError, match="has no stable identity"):
        fingerprint({"key": value})


def test_every_kind_of_setting_has_a_stable_identity(composed):
    fingerprint({key: value for key, _, value in settings(composed())})
    assert dataclasses.is_dataclass(Config)


@pytest.mark.parametrize(
    ("overrides", "useless"),
    [
        (["loss=nt_xent", "loss.sigma=0.4"], ["loss.sigma=0.4"]),
        (["loss=dcl", "loss.weighted=true", "loss.sigma=0.4"], []),
        (["head=none", "head.output=70", "seed=1"], ["head.output=70"]),
        (["probe=linear", "probe.epochs=3"], ["probe.epochs=3"]),
        (["probe=linear", "probe.epochs=3", "baselines=true"], []),
        (["probe=finetune", "probe.epochs=3"], []),
        (["probe=linear", "probe.neighbours=[7]"], ["probe.neighbours=[7]"]),
        (["probe=knn", "probe.neighbours=[7]"], []),
        (["probe=knn", "probe.strengths=[0.5]"], []),  # raw pixels are classified by it
        (["optimizer=adamw", "optimizer.momentum=0.9"], []),  # says the default again
        (["optimizer=adamw", "optimizer.momentum=0.8"], ["optimizer.momentum=0.8"]),
        (["experiment=documents", "pretrain.statistics=together"], []),
        (["pretrain.threads=1", "root=elsewhere"], []),
    ],
    ids=str,
)
def test_what_was_typed_and_decides_nothing_is_known(composed, overrides, useless):
    assert idle([(composed(*overrides), overrides)]) == useless


@pytest.mark.parametrize(("probe", "same"), [("linear", True), ("documents", True), ("knn", False)])
def test_numbers_of_neighbours_name_another_cell_only_where_neighbours_are_asked(composed, probe, same):
    usual, typed = (describe(composed(f"probe={probe}", *more), DIGEST) for more in ([], ["probe.neighbours=[7]"]))
    assert (usual.name == typed.name) == same


def test_what_decides_something_in_one_cell_of_a_grid_is_of_use(composed):
    cells = [["loss=nt_xent", "loss.weighted=true"], ["loss=dcl", "loss.weighted=true"]]
    assert idle((composed(*each), each) for each in cells) == []
