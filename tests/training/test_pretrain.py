"""Pretraining: what a step does, in which order images come, what makes it the same run."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr.evaluation.monitor import NeighbourMonitor
from simclr.model.network import build_network
from simclr.training.loss import Objective
from simclr.training.optimizer import build_optimizer
from simclr.training.pretrain import ContrastiveModel, pretrain
from simclr.training.resume import Saving
from simclr.training.stages import Stage, batches, stages

TINY = (
    "encoder.widths=[8,12]",
    "encoder.blocks=[1,1]",
    "head.hidden=[16,16]",
    "head.output=8",
    "pretrain.batch_size=16",
    "pretrain.epochs=3",
    "pretrain.precision=float32",
)


def weights(network) -> np.ndarray:
    return np.concatenate([np.ravel(each) for each in network.get_weights()])


@pytest.fixture(scope="module")
def tiny(composed, made_up_split):
    """One short pretraining that several tests look at."""
    config = composed(*TINY)
    return config, made_up_split(50), pretrain(config.recipe, made_up_split(50), "float32")


def test_the_loss_falls_and_the_history_has_an_epoch_a_row(tiny):
    _, _, done = tiny
    assert [row["epoch"] for row in done.history] == [0, 1, 2]
    assert done.history[-1]["loss"] < done.history[0]["loss"]
    assert 0 <= done.history[-1]["contrastive_accuracy"] <= 1
    assert done.steps == 3 * (50 // 16)


def test_the_same_configuration_gives_the_same_bits(tiny):
    config, images, done = tiny
    assert (weights(pretrain(config.recipe, images, "float32").network) == weights(done.network)).all()


def test_another_seed_gives_other_weights(tiny, composed):
    _, images, done = tiny
    other = pretrain(composed(*TINY, "seed=1").recipe, images, "float32")
    assert (weights(other.network) != weights(done.network)).any()


def test_watching_the_neighbours_changes_no_bit(tiny):
    config, images, done = tiny
    monitor = NeighbourMonitor(images, every=1, epochs=3, centre=False, seed=0)
    watched = pretrain(config.recipe, images, "float32", [monitor])
    assert (weights(watched.network) == weights(done.network)).all()
    assert all(0 <= row["monitor/knn_accuracy"] <= 1 for row in watched.history)


def test_what_a_callback_adds_to_an_epoch_is_in_the_history(tiny):
    class Adds(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["answer"] = 42.0 + epoch

    config, images, _ = tiny
    done = pretrain(config.recipe, images, "float32", [Adds()])
    assert [row["answer"] for row in done.history] == [42, 43, 44]


def test_local_views_change_the_weights_and_leave_moving_statistics_to_the_two_views(tiny, composed):
    _, images, done = tiny
    at_rest = [*TINY, "head.norm=batch", "optimizer.learning_rate=1e-30"]
    found = pretrain(composed(*at_rest, "augment.local_views=2").recipe, images, "float32")
    plain = pretrain(composed(*at_rest).recipe, images, "float32")
    np.testing.assert_allclose(weights(found.network), weights(plain.network), rtol=1e-6, atol=1e-20)
    learnt = pretrain(composed(*TINY, "augment.local_views=2").recipe, images, "float32")
    assert learnt.history[-1]["loss"] < learnt.history[0]["loss"]
    assert (weights(learnt.network) != weights(done.network)).any()


@pytest.mark.parametrize(
    "extra",
    [
        ("pretrain.statistics=apart",),
        ("augment.local_views=1", "pretrain.xla=true"),
        ("pretrain.microbatch=4", "loss=dcl"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("head", ["three_relu", "zero_relu"])
def test_a_head_with_norms_trains(composed, made_up_split, head, extra):
    config = composed(*TINY, f"head={head}", "head.hidden=[16,16,16]", "head.norm=batch", *extra)
    done = pretrain(config.recipe, made_up_split(50), "float32")
    assert min(row["loss"] for row in done.history[1:]) < done.history[0]["loss"]
    assert np.ptp(done.network.get_layer("projection_norm").moving_mean) > 0


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_head_with_norms_trains_in_reduced_precision(composed, made_up_split, precision):
    done = pretrain(composed(*TINY, "head.norm=batch").recipe, made_up_split(50), precision)
    assert np.isfinite(done.history[-1]["loss"])
    assert done.network.output.dtype == "float32"


@pytest.mark.parametrize("name", ["sgd", "lars"])
def test_every_optimizer_trains(composed, made_up_split, name):
    done = pretrain(
        composed(*TINY, f"optimizer={name}", "optimizer.warmup_epochs=0.5").recipe, made_up_split(50), "float32"
    )
    assert np.isfinite([row["loss"] for row in done.history]).all()


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_reduced_precision_trains_with_weights_in_float32(composed, made_up_split, precision):
    done = pretrain(composed(*TINY).recipe, made_up_split(50), precision)
    assert np.isfinite(done.history[-1]["loss"])
    assert {each.dtype for each in done.network.get_weights()} == {np.dtype(np.float32)}


def test_a_run_over_several_sizes_is_one_schedule_with_one_trace_for_each(composed, made_up_split, monkeypatch):
    traced = []
    step = ContrastiveModel.train_step

    def counted(self, batch):
        traced.append(self.size)
        return step(self, batch)

    monkeypatch.setattr(ContrastiveModel, "train_step", counted)
    seen = []

    class Rates(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(float(self.model.optimizer.learning_rate))

    config = composed(*TINY, "pretrain.sizes=[[8,0.34],[12,0.33],[16,0.33]]")
    done = pretrain(config.recipe, made_up_split(50), "float32", [Rates()])
    assert traced == [8, 12, 16]
    cosine = 0.002 * (1 + np.cos(np.pi * np.arange(1, 10) / 9)) / 2
    assert seen == pytest.approx(cosine, abs=1e-7)
    assert len(done.history) == 3


def test_stages_cover_every_epoch_once_in_order(composed):
    for epochs in (1, 2, 7, 360):
        config = composed(f"pretrain.epochs={epochs}", "pretrain.sizes=[[8,0.2],[12,0.5],[16,0.3]]")
        covered = [epoch for stage in stages(config.pretrain) for epoch in range(stage.first, stage.last)]
        assert covered == list(range(epochs))


def positions(count: int, batch: int, seed: int, stage: Stage) -> list[tuple[int, list[int]]]:
    return [(int(step), index.numpy().tolist()) for step, index in batches(count, batch, seed, stage)]


def test_every_epoch_sees_each_image_at_most_once_and_drops_what_fills_no_batch():
    found = positions(50, 16, 0, Stage(16, 0, 4))
    assert [step for step, _ in found] == list(range(12))
    for epoch in range(4):
        seen = [position for _, index in found[3 * epoch : 3 * epoch + 3] for position in index]
        assert len(seen) == len(set(seen)) == 48


def test_every_epoch_has_an_order_of_its_own():
    found = positions(48, 48, 0, Stage(16, 0, 3))
    assert len({tuple(index) for _, index in found}) == 3


def test_a_run_that_begins_later_sees_what_an_uninterrupted_one_would_have_seen():
    whole = positions(50, 16, 7, Stage(16, 0, 6))
    assert positions(50, 16, 7, Stage(16, 4, 6)) == whole[12:]


def test_a_step_is_one_gradient_step_on_nt_xent(composed, made_up_split):
    """The loss of a step is NT-Xent of the network's embeddings of exactly those views, before the update."""
    from simclr.model.network import build_network
    from simclr.training.loss import nt_xent
    from simclr.training.optimizer import build_optimizer

    config, images = composed(*TINY), made_up_split(50)
    network = build_network(config.encoder, config.head, 1, 16, 0)
    model = ContrastiveModel(network, images, config.augment, Objective(config.loss, 0.2), 0, 16)
    optimizer = build_optimizer(config.optimizer, 9, 3, 16)
    optimizer.build(network.trainable_variables)
    model.compile(optimizer=optimizer)
    batch = (tf.constant(0, tf.int64), tf.range(16))
    expected = nt_xent(network(model.views(*batch), training=True), 0.2)
    assert float(model.train_step(batch)["loss"]) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.slow
def test_the_documents_experiment_runs_a_real_step_at_224_pixels(composed, made_up_split):
    config = composed("experiment=documents", "pretrain.batch_size=4", "pretrain.epochs=1")
    done = pretrain(config.recipe, made_up_split(4, side=224, channels=3), "float32")
    assert done.network.count_params() == 24_151_602
    assert done.steps == 1
    assert np.isfinite(done.history[0]["loss"])


def test_the_whole_step_compiles_under_xla_and_is_the_same(tiny, composed):
    _, images, done = tiny
    compiled = pretrain(composed(*TINY, "pretrain.xla=true").recipe, images, "float32")
    np.testing.assert_allclose(weights(compiled.network), weights(done.network), atol=1e-3)
    assert compiled.history[-1]["loss"] == pytest.approx(done.history[-1]["loss"], rel=1e-4)


def test_several_steps_at_once_are_the_same_steps(tiny, composed):
    _, images, done = tiny
    seen = []
    looking = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    at_once = pretrain(composed(*TINY, "pretrain.steps_per_execution=3").recipe, images, "float32", [looking])
    assert seen == [2] * 3
    assert (weights(at_once.network) == weights(done.network)).all()
    assert [row["loss"] for row in at_once.history] == [row["loss"] for row in done.history]


def test_steps_that_are_compiled_into_one_program_are_the_same_steps(composed, made_up_split):
    """Four, four and the epoch's last three; one that was stopped after eight goes on to the same bits."""
    images = made_up_split(11 * 8)
    small = (*TINY, "pretrain.batch_size=8", "pretrain.epochs=1", "pretrain.xla=true")
    together, singly = composed(*small, "pretrain.steps_per_execution=5").recipe, composed(*small).recipe
    seen, states = [], []
    looking = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    done = pretrain(together, images, "float32", [looking], Saving(save=states.append, minutes=0))
    assert seen == [3, 7, 11]
    assert [state.step for state in states] == [4, 8, 11]
    resumed = pretrain(together, images, "float32", saving=Saving(states[1]))
    assert (weights(resumed.network) == weights(done.network)).all()
    assert resumed.history[-1]["loss"] == done.history[-1]["loss"]
    one_by_one = pretrain(singly, images, "float32")
    np.testing.assert_allclose(weights(done.network), weights(one_by_one.network), atol=1e-3)
    assert done.history[-1]["loss"] == pytest.approx(one_by_one.history[-1]["loss"], rel=1e-5)


@pytest.mark.parametrize("together", [3, 4])
def test_steps_that_come_together_are_those_that_come_singly(together):
    singly = list(batches(50, 8, 3, Stage(16, 1, 3)))
    found = []
    for numbers, index, *count in batches(50, 8, 3, Stage(16, 1, 3), together=together):
        found += list(zip(numbers, index, strict=True))[: int(count[0]) if count else together]
    for (number, index), (other_number, other_index) in zip(found, singly, strict=True):
        assert int(number) == int(other_number)
        np.testing.assert_array_equal(index, other_index)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_step_asks_nothing_of_the_host_but_its_positions(composed, made_up_split, precision):
    model = ready(composed(*TINY), made_up_split(50), precision)
    step = tf.function(model.train_step).get_concrete_function(
        (tf.TensorSpec((), tf.int64), tf.TensorSpec((16,), tf.int32))
    )
    operations = [*step.graph.get_operations()]
    for inner in step.graph._functions.values():  # what the graph calls
        operations += inner.graph.get_operations() if hasattr(inner, "graph") else []
    kinds = {operation.type for operation in operations}
    assert not [kind for kind in kinds if "Py" in kind or "Iterator" in kind or "Print" in kind or "Numpy" in kind]
    images = [each for each in operations if each.type == "Placeholder" and each.outputs[0].dtype == tf.uint8]
    assert images  # captured, that is: they lie on the device and are not part of the batch
    arrays = [output for each in operations for output in each.outputs if (output.shape.rank or 0) >= 2]
    assert not [output.name for output in arrays if not output.shape.is_fully_defined()]


def ready(config, images, precision, size=16):
    """A model before its first step, with its optimizer."""
    settings = config.pretrain
    network = build_network(config.encoder, config.head, images.pixels.shape[-1], size, 0, precision=precision)
    model = ContrastiveModel(
        network,
        images,
        config.augment,
        Objective(config.loss, settings.temperature),
        0,
        size,
        microbatch=settings.microbatch,
        statistics=settings.statistics,
    )
    optimizer = build_optimizer(config.optimizer, 10, 3, settings.batch_size)
    optimizer.build(network.trainable_variables)
    model.compile(optimizer=optimizer)
    return model
