"""The decoupled loss, against a version that is written from the paper's formulas (arXiv 2110.06848)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from simclr.config import LossConfig
from simclr.foundation.errors import InvalidInput
from simclr.training.loss import (
    LOSSES,
    Objective,
    chance,
    decoupled_local_loss,
    decoupled_loss_of,
    nt_xent,
    similarities,
)
from simclr.training.pretrain import pretrain
from tests.training.test_pretrain import TINY, weights

Array = Any

shapes = st.tuples(st.integers(2, 6), st.integers(2, 8), st.integers(0, 2**32 - 1))
temperatures = st.floats(0.1, 5.0)
sigmas = st.none() | st.floats(0.1, 5.0)
DECOUPLED = {
    "dcl": ("loss=dcl",),
    "dclw": ("loss=dcl", "loss.weighted=true"),
}


def dcl(embeddings: Any, temperature: float, sigma: float | None = None) -> Any:
    return decoupled_loss_of(similarities(embeddings), temperature, sigma)


def draw(images: int, dimensions: int, seed: int, views: int = 2) -> Array:
    return np.random.default_rng(seed).normal(size=(views * images, dimensions))


def unit(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def paper(embeddings: Array, temperature: float, sigma: float | None, weight_of: Array | None = None) -> float:
    """Anchor by anchor, in float64; ``weight_of`` are the embeddings that the weights are taken from."""
    count = len(embeddings)
    cosines = unit(embeddings) @ unit(embeddings).T
    partner = (np.arange(count) + count // 2) % count

    def weights_of(rows: Array) -> Array:
        if sigma is None:
            return np.ones(count)
        odds = np.exp(np.sum(unit(rows) * unit(rows)[partner], axis=1) / sigma)
        return 2 - odds / odds.mean()

    w = weights_of(embeddings if weight_of is None else weight_of)
    terms = []
    for i, p in enumerate(partner):
        negatives = [np.exp(cosines[i, k] / temperature) for k in range(count) if k not in (i, p)]
        assert len(negatives) == count - 2
        terms.append(-w[i] * cosines[i, p] / temperature + np.log(sum(negatives)))
    return float(np.mean(terms))


def value_and_gradient(embeddings: Any, temperature: float, sigma: float | None) -> tuple[Array, Array]:
    tensor = tf.convert_to_tensor(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        loss = dcl(tensor, temperature, sigma)
    return loss.numpy(), tf.cast(tape.gradient(loss, tensor), tf.float32).numpy()


@given(shapes, temperatures, sigmas)
def test_the_loss_is_the_papers(shape: tuple[int, int, int], temperature: float, sigma: float | None) -> None:
    embeddings = draw(*shape)
    expected = paper(embeddings, temperature, sigma)
    assert float(dcl(embeddings.astype("float32"), temperature, sigma)) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("sigma", [None, 0.5])
def test_its_gradient_is_the_slope_with_the_weights_held(sigma: float | None) -> None:
    embeddings, step = unit(draw(3, 4, 0)), 1e-6
    _, gradient = value_and_gradient(embeddings.astype("float32"), 0.5, sigma)
    expected = np.zeros_like(embeddings)
    for index in np.ndindex(embeddings.shape):
        moved = np.zeros_like(embeddings)
        moved[index] = step
        ends = (paper(embeddings + sign * moved, 0.5, sigma, embeddings) for sign in (1, -1))
        expected[index] = (next(ends) - next(ends)) / (2 * step)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_nt_xent_is_this_one_with_the_positive_put_back() -> None:
    """log(e_p + n) - s_p / tau, where this one is log(n) - s_p / tau: softplus of it, for a single pair of anchors."""
    embeddings = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], "float32")  # all anchors have the same loss
    assert float(nt_xent(embeddings, 0.5)) == pytest.approx(np.log1p(np.exp(float(dcl(embeddings, 0.5)))), rel=1e-6)


@given(shapes, temperatures, sigmas, st.integers(1, 3))
def test_local_views_are_anchors_against_all_other_images(shape, temperature, sigma, views) -> None:
    images, dimensions, seed = shape
    embeddings, local = draw(images, dimensions, seed), draw(images, dimensions, seed + 1, views)
    cosines = unit(local) @ unit(embeddings).T
    pairs = np.stack([cosines[np.arange(len(local)), np.arange(len(local)) % images + p] for p in (0, images)], axis=1)
    odds = np.exp(pairs / (sigma or 1))
    w = np.ones_like(odds) if sigma is None else 2 - odds / odds.mean()
    terms = []
    for anchor, row in enumerate(cosines):
        others = np.delete(row, [anchor % images, anchor % images + images])
        terms.append(-w[anchor] * pairs[anchor] / temperature + np.log(np.exp(others / temperature).sum()))
    found = decoupled_local_loss(local, embeddings, temperature, sigma)
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-4, abs=1e-5)


def test_a_local_view_that_is_a_whole_one_has_its_loss() -> None:
    embeddings = draw(4, 5, 0)
    cosines = unit(embeddings) @ unit(embeddings).T
    own = np.mean(1 - cosines[np.arange(8), (np.arange(8) + 4) % 8]) / 0.5
    # Each anchor's positives are its other view and itself, at cosine 1: half of what the other view lacks of that.
    found = float(decoupled_local_loss(embeddings, embeddings, 0.5))
    assert found == pytest.approx(float(dcl(embeddings, 0.5)) - own / 2, rel=1e-4)


@pytest.mark.parametrize("loss", [LossConfig(name) for name in LOSSES] + [LossConfig("dcl", weighted=True)], ids=str)
def test_a_collapsed_representation_has_the_loss_of_chance(loss: LossConfig) -> None:
    objective, rows = Objective(loss, 0.1), np.ones((16, 4), "float32")
    expected = np.log(15 if loss.name == "nt_xent" else 14)
    assert chance(loss, batch_size=8) == pytest.approx(expected)
    assert float(objective.of(rows)) == pytest.approx(expected, rel=1e-5)
    assert float(objective.of_local_views(np.ones((24, 4)), rows)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("sigma", [None, 0.5, 0.01])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("zeros", [0, 1, 16])
def test_value_and_gradient_are_finite_in_every_precision(sigma: float | None, dtype: str, zeros: int) -> None:
    embeddings = draw(8, 16, 0)
    embeddings[:zeros] = 0
    loss, gradient = value_and_gradient(tf.cast(embeddings, dtype), 0.01, sigma)
    assert loss.dtype == np.float32
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    assert not gradient[:zeros].any()


def test_embeddings_that_are_not_a_number_show_in_the_loss() -> None:
    embeddings = draw(4, 4, 0)
    embeddings[2, 1] = np.nan
    assert np.isnan(dcl(embeddings, 0.5))


def test_one_image_has_no_negatives_and_is_refused() -> None:
    with pytest.raises(ValueError, match="another image"):
        dcl(np.ones((2, 3), "float32"), 0.1)


@pytest.mark.parametrize("sigma", [None, 0.5])
def test_the_loss_compiles_under_xla(sigma: float | None) -> None:
    embeddings, local = tf.constant(draw(8, 16, 1), tf.float32), tf.constant(draw(8, 16, 2), tf.float32)

    @tf.function(jit_compile=True)
    def compiled(rows: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            loss = dcl(rows, 0.2, sigma)
        return loss, tape.gradient(loss, rows), decoupled_local_loss(local, rows, 0.2, sigma)

    loss, gradient, of_local = compiled(embeddings)
    expected_loss, expected_gradient = value_and_gradient(embeddings, 0.2, sigma)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5)
    np.testing.assert_allclose(of_local, decoupled_local_loss(local, embeddings, 0.2, sigma), rtol=1e-5)


def test_a_batch_whose_size_is_not_known_beforehand_has_the_same_loss() -> None:
    traced = tf.function(lambda rows: dcl(rows, 0.2, 0.5), input_signature=[tf.TensorSpec((None, 5))])
    embeddings = draw(4, 5, 2).astype("float32")
    np.testing.assert_allclose(traced(embeddings), dcl(embeddings, 0.2, 0.5), rtol=1e-6)


def test_the_objective_is_what_is_configured() -> None:
    embeddings = draw(4, 5, 2).astype("float32")
    matrix = similarities(embeddings)
    found = Objective(LossConfig("dcl", weighted=True, sigma=0.3), 0.2).of(embeddings)
    assert float(found) == float(decoupled_loss_of(matrix, 0.2, 0.3))
    assert float(Objective(LossConfig("dcl", sigma=0.3), 0.2).of(embeddings)) == float(decoupled_loss_of(matrix, 0.2))
    assert float(Objective(LossConfig(), 0.2).of(embeddings)) == float(nt_xent(embeddings, 0.2))
    with pytest.raises(InvalidInput, match=r"loss.name=dclw: valid is nt_xent, dcl"):
        Objective(LossConfig("dclw"), 0.2)


@pytest.mark.parametrize("name", DECOUPLED)
@pytest.mark.parametrize(
    "extra", [(), ("augment.local_views=2",), ("pretrain.xla=true", "augment.local_views=1")], ids=str
)
def test_it_trains(composed, made_up_split, name, extra) -> None:
    done = pretrain(composed(*TINY, *DECOUPLED[name], *extra).recipe, made_up_split(50), "float32")
    assert done.history[-1]["loss"] < done.history[0]["loss"]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_it_trains_in_reduced_precision(composed, made_up_split, precision) -> None:
    done = pretrain(composed(*TINY, *DECOUPLED["dclw"]).recipe, made_up_split(50), precision)
    assert np.isfinite([row["loss"] for row in done.history]).all()


@pytest.mark.parametrize("name", DECOUPLED)
def test_a_run_in_microbatches_ends_where_one_in_whole_batches_does(composed, made_up_split, name) -> None:
    group = (*TINY, *DECOUPLED[name], "encoder.norm=group", "pretrain.epochs=2")
    images = made_up_split(50)
    one = pretrain(composed(*group).recipe, images, "float32")
    other = pretrain(composed(*group, "pretrain.microbatch=4").recipe, images, "float32")
    assert weights(other.network) == pytest.approx(weights(one.network), abs=2e-3)
    assert other.history[-1]["loss"] == pytest.approx(one.history[-1]["loss"], abs=2e-3)
