"""Training a whole network with a few labels, on made-up images whose classes are apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from simclr.config.cell import labelled_augment
from simclr.data import Images
from simclr.data.content import Content
from simclr.evaluation.finetune import FineTuning, share_of_rate, stopping_points
from simclr.evaluation.labelled import classifier, labelled_views
from simclr.model.network import build_network, representation, variables_by_name
from simclr.training.augment import line_order
from simclr.training.pretrain import pretrain

QUICK = (
    "probe=finetune",
    "encoder.widths=[8,12]",
    "encoder.blocks=[1,1]",
    "head.hidden=[10,9]",
    "head.output=6",
    "pretrain.precision=float32",
    "probe.epochs=12",
    "probe.stops=2",
    "probe.folds=2",
    "probe.batch_size=8",
    "probe.learning_rates=[0.01]",
)
SUBSET = np.arange(48)


@pytest.fixture(scope="module")
def images(made_up_split):
    return Images(("below", "above"), Content("d" * 64), made_up_split(48), made_up_split(30), made_up_split(0))


@pytest.fixture
def built(composed, tmp_path):
    """``built(images, "probe.epochs=2", weights=None)``: the procedure at the layer that the overrides ask for."""

    def build(images, *overrides, weights=None):
        config = composed(*QUICK, *overrides)
        return FineTuning(config.recipe, config.probe, images, config.probe.layer, weights, tmp_path)

    return build


def accuracy(fit, images):
    return np.mean(fit.test == images.test.labels)


@pytest.mark.parametrize("layer", ["encoder", "relu_1", pytest.param("projection", marks=pytest.mark.slow)])
def test_a_network_learns_classes_that_are_apart_whatever_layer_the_classifier_takes(built, images, layer):
    fit = built(images, f"probe.layer={layer}")(SUBSET)
    assert accuracy(fit, images) > 0.9
    assert fit.train.shape == SUBSET.shape
    assert fit.validation_accuracy > 0.7


def test_the_same_seed_gives_the_same_answers_to_the_bit_whatever_was_trained_before(built, images):
    first = built(images, "probe.epochs=3")
    first(np.arange(16))
    again = built(images, "probe.epochs=3")
    for tuning in (first, again):
        tuning(SUBSET)
    everything = np.arange(48)
    ours, theirs = (tuning._logits(images.train, everything) for tuning in (first, again))
    assert (ours == theirs).all()


def test_the_tests_labels_decide_nothing(built, images):
    scrambled = replace(images.test, labels=1 - images.test.labels)
    with_wrong_labels = replace(images, test=scrambled)
    rates = "probe.learning_rates=[0.001,0.01]"
    ours, theirs = (built(each, rates, "probe.epochs=2")(SUBSET) for each in (images, with_wrong_labels))
    assert (ours.test == theirs.test).all()
    assert ours.validation_accuracy == theirs.validation_accuracy


@pytest.mark.slow
def test_a_rate_that_fails_on_held_out_images_is_not_chosen(built, images):
    tuning = built(images, "probe.learning_rates=[0.01,900]")
    assert accuracy(tuning(SUBSET), images) > 0.9


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_one_example_of_each_class_leaves_nothing_to_choose_by(built, images):
    fit = built(images, "probe.batch_size=2", "probe.epochs=2")(np.array([0, 1]))
    assert fit.validation_accuracy is None
    assert fit.test.shape == images.test.labels.shape


def test_training_begins_at_the_weights_that_it_is_given(built, images, composed):
    config = composed(*QUICK)
    weights = variables_by_name(build_network(config.encoder, config.head, 1, 16, seed=5))
    beginning = {variable.path: value for variable, value in built(images, weights=weights)._beginning}
    shared = set(weights) & set(beginning)
    assert any("stage_2" in name for name in shared)
    assert all((beginning[name] == weights[name]).all() for name in shared)


def test_every_weight_up_to_the_layer_is_trained_and_none_after_it_is_there(built, images):
    tuning = built(images, "probe.layer=stage_1", "probe.epochs=2")
    names = {variable.path for variable in tuning._model.variables}
    assert not any("stage_2" in name or "dense" in name for name in names)
    tuning(SUBSET)
    model = tuning._model
    trained = {variable.path for variable in model.trainable_variables}
    moved = {each.path for each, before in tuning._beginning if each.path in trained and (each.numpy() != before).any()}
    assert moved == trained
    assert model.get_layer("classifier").kernel.shape == (8, 2)


def test_a_scaled_loss_learns_as_well(built, images):
    assert accuracy(built(images, "pretrain.precision=mixed_float16")(SUBSET), images) > 0.9


@pytest.mark.slow
def test_a_pretrained_network_needs_fewer_steps_than_one_at_its_first_weights(composed, tmp_path):
    from simclr import data
    from simclr.data.labels import stratified_subsets

    config = composed(
        "probe=finetune",
        "encoder.widths=[16,32]",
        "encoder.blocks=[1,1]",
        "pretrain.epochs=5",
        "pretrain.precision=float32",
        "probe.epochs=10",
        "probe.stops=1",
        "probe.learning_rates=[0.001]",
        "probe.folds=2",
    )
    digits = data.load(config.data, tmp_path)
    weights = variables_by_name(pretrain(config.recipe, digits.train, "float32").network)
    (subset,) = stratified_subsets(digits.train.labels, 0.1, 1, seed=0)
    pretrained, first = (
        FineTuning(config.recipe, config.probe, digits, "encoder", each, tmp_path)(subset) for each in (weights, None)
    )
    assert accuracy(pretrained, digits) > accuracy(first, digits) + 0.05


def test_labelled_images_vary_in_geometry_alone(composed):
    augment = labelled_augment(composed("augment=simclr").augment)
    assert (augment.crop_area, augment.crop_fit, augment.flip) == ([0.15, 1.0], "redrawn", 0.5)
    assert (augment.jitter, augment.grey, augment.blur, augment.noise) == (0, 0, 0, 0)
    assert labelled_augment(composed("augment=affine").augment).rotation == 15


@pytest.mark.parametrize("options", [("augment=affine",), ("augment=simclr",)])
def test_every_image_of_a_batch_has_one_view_which_seed_and_step_decide(composed, made_up_split, options):
    augment, split = labelled_augment(composed(*options).augment), made_up_split(6)

    def views(step, seed=0):
        aspect = tf.constant(split.aspect)
        return labelled_views(augment, line_order(split.pixels), aspect, 12, seed, tf.constant(step)).numpy()

    assert views(0).shape == (6, 12, 12, 1)
    assert (views(3) == views(3)).all()
    assert not (views(3) == views(4)).all()
    assert not (views(3) == views(3, seed=1)).all()
    assert views(3).min() >= 0
    assert views(3).max() <= 1


def test_without_a_step_it_is_the_linear_probe(built, images):
    from simclr.evaluation.probe import LogisticRegression

    tuning = built(images)
    tuning._begin(tuning._probe(SUBSET))
    seen = tuning._eye(images.test, np.arange(30))
    features = tuning._eye(images.train, SUBSET)["features"]
    probe = LogisticRegression(tuple(tuning._settings.strengths))
    expected = probe(features, images.train.labels[SUBSET], seen["features"], images.test.labels, 0)
    assert (seen["logits"].argmax(axis=1) == expected.test).mean() > 0.95


def test_the_classifier_is_made_undecided(composed):
    config = composed(*QUICK)
    network = build_network(config.encoder, config.head, 1, 16, seed=0)
    logits = classifier(representation(network, "encoder"), 3)(np.random.default_rng(0).random((4, 16, 16, 1)))
    assert (logits.numpy() == 0).all()


def test_the_rate_rises_then_falls_and_training_can_stop_on_the_way():
    shares = [share_of_rate(epoch, 60) for epoch in range(60)]
    peak = int(np.argmax(shares))
    assert 0 < shares[0] < shares[peak] <= 1
    assert shares[peak:] == sorted(shares[peak:], reverse=True)
    assert stopping_points(60, 4) == [15, 30, 45, 60]
    assert stopping_points(1, 4) == [1]
