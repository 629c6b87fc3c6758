"""Whose mean and variance a batch norm takes in training: both views' together, or each view's by itself."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simclr.config import EncoderConfig, HeadConfig
from simclr.model.layers import FusedBatchNormalization
from simclr.model.network import build_network
from simclr.training.embedding import cached_gradients, embed
from simclr.training.loss import nt_xent
from simclr.training.pretrain import pretrain
from tests.training.test_pretrain import TINY, weights

ENCODER = EncoderConfig(name="small_resnet", widths=[8, 16], blocks=[1, 1], stem="strided")
APART = "pretrain.statistics=apart"


def network():
    return build_network(ENCODER, HeadConfig(name="one_relu", hidden=[10, 10], output=6), 1, 16, seed=0)


def views(count: int = 8, of: int = 2) -> tf.Tensor:
    """Of ``count`` images, each view brighter than the one before it: a change that its images share."""
    noise = np.random.default_rng(0).random((of, count, 16, 16, 1), dtype=np.float32)
    return tf.constant((noise + np.arange(of, dtype=np.float32)[:, None, None, None, None]).reshape(-1, 16, 16, 1))


def moving_means(model) -> np.ndarray:
    norms = [each for each in model.get_layer("backbone").layers if isinstance(each, FusedBatchNormalization)]
    return np.concatenate([each.moving_mean.numpy() for each in norms])


def test_apart_is_a_call_for_each_view():
    model, images = network(), views()
    first, second = (model(half, training=True) for half in tf.split(images, 2))
    np.testing.assert_allclose(embed(network(), images, "apart"), tf.concat([first, second], 0), atol=1e-5)


def test_together_is_one_call():
    np.testing.assert_array_equal(embed(network(), views()), network()(views(), training=True))


def test_statistics_apart_take_out_what_all_images_of_a_view_share():
    model, images = network(), views()
    apart, together = (embed(model, images, statistics).numpy() for statistics in ("apart", "together"))

    def between_views(embeddings: np.ndarray) -> float:
        first, second = np.split(embeddings, 2)
        return float(np.abs(first.mean(axis=0) - second.mean(axis=0)).max() / embeddings.std(axis=0).max())

    assert between_views(apart) < 0.5 < between_views(together)


def test_moving_averages_follow_one_view_after_the_other():
    by_hand, found = network(), network()
    for half in tf.split(views(), 2):
        by_hand(half, training=True)
    embed(found, views(), "apart")
    np.testing.assert_allclose(moving_means(found), moving_means(by_hand), atol=1e-6)
    together = network()
    embed(together, views())
    assert np.abs(moving_means(found) - moving_means(together)).max() > 1e-3


@pytest.mark.parametrize("microbatch", [8, 2])
def test_a_microbatch_has_statistics_of_each_of_its_views(microbatch):
    """A microbatch of the whole batch is the batch; smaller ones are batches of their own."""
    model, images = network(), views()
    embeddings, gradients = cached_gradients(
        model, images, microbatch, lambda rows: nt_xent(rows, 0.2), statistics="apart"
    )
    with tf.GradientTape() as tape:
        whole = embed(model, images, "apart")
        loss = nt_xent(whole, 0.2)
    expected = tape.gradient(loss, model.trainable_variables)
    same = max(float(tf.reduce_max(tf.abs(one - two))) for one, two in zip(gradients, expected, strict=True)) < 1e-4
    assert same is (microbatch == 8)
    assert np.allclose(embeddings, whole, atol=1e-4) is (microbatch == 8)
    first = tf.concat([tf.split(images, 2)[0][:microbatch], tf.split(images, 2)[1][:microbatch]], 0)
    np.testing.assert_allclose(embed(model, first, "apart")[:microbatch], embeddings[:microbatch], atol=1e-4)


def test_local_views_are_calls_of_their_own_too(composed, made_up_split):
    images = made_up_split(50)
    done = pretrain(composed(*TINY, APART, "augment.local_views=2").recipe, images, "float32")
    assert np.isfinite(done.history[-1]["loss"])
    assert done.history[-1]["loss"] < done.history[0]["loss"]


def test_statistics_change_the_weights_and_go_through_xla_to_the_same(composed, made_up_split):
    images = made_up_split(50)
    apart = pretrain(composed(*TINY, APART).recipe, images, "float32")
    together = pretrain(composed(*TINY).recipe, images, "float32")
    assert (weights(apart.network) != weights(together.network)).any()
    compiled = pretrain(composed(*TINY, APART, "pretrain.xla=true").recipe, images, "float32")
    np.testing.assert_allclose(weights(compiled.network), weights(apart.network), atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("statistics", ["apart", "together"])
def test_the_documents_training_leaves_collapse_only_with_statistics_of_each_view(composed, tmp_path, statistics):
    """60 steps at 64 pixels, where batch norm over both views together stays at the loss of chance, ln 127 = 4.844."""
    from simclr import data
    from tests.real_set import real_images

    folder = real_images()
    if folder is None:
        pytest.skip("the documents' images are not on this machine")
    config = composed(
        *("experiment=documents", f"data.root={folder / 'imagenet-5-categories'}", "data.image_size=64"),
        *("pretrain.sizes=[[64,1.0]]", "pretrain.epochs=4", f"pretrain.statistics={statistics}"),
    )
    done = pretrain(config.recipe, data.load(config.data, tmp_path).train, "float32")
    last = done.history[-1]
    assert (last["spread"] > 0.3) is (statistics == "apart")
    assert (last["loss"] < 4.4) is (statistics == "apart")
