"""A run that was stopped and goes on ends with the same bits as one that never was."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest

from simclr.evaluation.monitor import NeighbourMonitor
from simclr.model.network import build_network
from simclr.training.callbacks import EpochFacts, ShowHistory, write_history
from simclr.training.checkpoint import Checkpoint
from simclr.training.optimizer import build_optimizer
from simclr.training.pretrain import pretrain
from simclr.training.resume import Saving
from simclr.training.runtime import start_tensorflow
from tests.training.test_pretrain import TINY

STEPS_PER_EPOCH = 3
SIZES = "pretrain.sizes=[[8,0.34],[12,0.33],[16,0.33]]"
RUNS = {
    "adamw": ("float32", ()),
    "sgd": ("float32", ("optimizer=sgd", "optimizer.momentum=0.9")),
    "lars": ("float32", ("optimizer=lars", "optimizer.warmup_epochs=0.5")),
    "mixed_bfloat16": ("mixed_bfloat16", ()),
    "mixed_float16": ("mixed_float16", ()),
    "several sizes": ("float32", (SIZES,)),
}
# The slow form stops every run at every step.
STOPS = {
    "adamw": (1, 5, 6, 9),
    "sgd": (5,),
    "several sizes": (4,),  # the size changes after 3 and after 6
}


@pytest.fixture(scope="module", autouse=True)
def _reproducible():
    start_tensorflow(None)


class Run:
    """A pretraining in this process, as a test looks at it."""

    def __init__(self, config, images, precision, start=None, callbacks=(), **saving):
        self.states: list[Checkpoint] = []  # each as it was read back from its file
        self.images = images
        watching = [
            EpochFacts(config.pretrain.batch_size),
            NeighbourMonitor(images, every=2, epochs=config.pretrain.epochs, centre=False, seed=0),
            *callbacks,
        ]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checkpoint.npz"

            def save(state: Checkpoint) -> None:
                state.save(path)
                self.states.append(Checkpoint.load(path))

            self.done = pretrain(config.recipe, images, precision, watching, Saving(start, save, **saving))

    def weights(self) -> list[bytes]:
        return [each.tobytes() for each in self.done.network.get_weights()]

    def history(self) -> list[dict[str, str]]:
        """Every number but the speed, written so that two are equal only if all their bits are."""
        return [
            {name: float(value).hex() for name, value in row.items() if name != "images_per_second"}
            for row in self.done.history
        ]

    def final(self) -> list[bytes]:
        """The state that it ended with: optimizer, loss scale, means and all."""
        last = self.states[-1]
        return [each.tobytes() for each in (*last.network, *last.optimizer, *last.means)]


@pytest.fixture(scope="module")
def uninterrupted(composed, made_up_split):
    """``uninterrupted("lars")``: that run with the state after every step, made once."""
    made = {}

    def run(name: str) -> tuple[object, str, Run]:
        if name not in made:
            precision, overrides = RUNS[name]
            config = composed(*TINY, *overrides)
            made[name] = config, precision, Run(config, made_up_split(50), precision, minutes=0)
        return made[name]

    return run


def test_with_no_minutes_between_there_is_a_state_after_every_step(uninterrupted):
    _, _, run = uninterrupted("adamw")
    assert [state.step for state in run.states] == list(range(1, 10))
    assert [len(state.history) for state in run.states] == [0, 0, 1, 1, 1, 2, 2, 2, 3]


def test_saving_changes_no_bit(uninterrupted):
    config, precision, run = uninterrupted("adamw")
    unsaved = Run(config, run.images, precision)
    assert unsaved.states == []
    assert unsaved.weights() == run.weights()
    assert unsaved.history() == run.history()


@pytest.mark.parametrize(("name", "stop"), [(name, stop) for name, stops in STOPS.items() for stop in stops])
def test_going_on_ends_with_the_same_bits(uninterrupted, name, stop):
    config, precision, run = uninterrupted(name)
    resumed = Run(config, run.images, precision, run.states[stop - 1], minutes=0)
    assert [state.step for state in resumed.states] == list(range(stop + 1, 10))
    assert resumed.weights() == run.weights()
    assert resumed.history() == run.history()
    assert stop == 9 or resumed.final() == run.final()
    assert resumed.done.steps == run.done.steps


@pytest.mark.slow
@pytest.mark.parametrize("stop", range(1, 10))
@pytest.mark.parametrize("name", RUNS)
def test_going_on_from_every_step_of_every_run_ends_with_the_same_bits(uninterrupted, name, stop):
    test_going_on_ends_with_the_same_bits(uninterrupted, name, stop)


@pytest.mark.parametrize("stop", [3, 6], ids=["from 8 to 12 pixels", "from 12 to 16 pixels"])
def test_a_run_of_several_sizes_that_is_stopped_where_the_size_changes_goes_on_at_the_next_size(uninterrupted, stop):
    config, precision, run = uninterrupted("several sizes")
    sizes = []

    class Sizes(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            sizes.append(self.model.size)

    pretrain(config.recipe, run.images, precision, [Sizes()], Saving(run.states[stop - 1]))
    assert sizes == [8, 8, 8, 12, 12, 12, 16, 16, 16][stop:]


@pytest.mark.slow
def test_stopped_after_every_single_step_it_still_ends_with_the_same_bits(uninterrupted):
    """Each attempt does one step more than the one before and is then cut off, as a crash would."""

    class Crash(Exception):
        pass

    config, precision, run = uninterrupted("adamw")
    state = None
    for _ in range(8):
        saved = []

        def save(found, saved=saved):
            saved.append(found)
            raise Crash

        with pytest.raises(Crash):
            pretrain(
                config.recipe,
                run.images,
                precision,
                [EpochFacts(16), NeighbourMonitor(run.images, every=2, epochs=3, centre=False, seed=0)],
                Saving(state, save, minutes=0),
            )
        (state,) = saved
    last = Run(config, run.images, precision, state)
    assert last.weights() == run.weights()
    assert last.history() == run.history()


def test_the_loss_scale_goes_on_where_it_was(uninterrupted):
    """Nothing doubles or halves it within a run as short as this: it has to come from the state."""
    config, precision, run = uninterrupted("mixed_float16")
    state = replace(run.states[4], optimizer=list(run.states[4].optimizer))
    scales = [position for position, value in enumerate(state.optimizer) if value.shape == () and value == 2**15]
    assert len(scales) == 1
    state.optimizer[scales[0]] = np.float32(2**10)
    resumed = Run(config, run.images, precision, state, minutes=0)
    assert float(resumed.states[-1].optimizer[scales[0]]) == 2**10


def test_time_spent_adds_up_over_all_attempts(uninterrupted):
    config, precision, run = uninterrupted("adamw")
    state = run.states[4]
    assert 0 < state.seconds < run.done.seconds
    resumed = Run(config, run.images, precision, replace(state, seconds=1000.0, compiling=400.0), minutes=0)
    assert 1000 < resumed.states[0].seconds < resumed.done.seconds < 2000
    assert 400 < resumed.done.compiling < 500
    on_steps = resumed.done.seconds - resumed.done.compiling
    assert resumed.done.images_per_second == pytest.approx(9 * 16 / on_steps)


def test_a_state_is_not_changed_by_going_on_from_it(uninterrupted):
    config, precision, run = uninterrupted("adamw")
    state = run.states[4]
    before = [each.tobytes() for each in (*state.network, *state.optimizer, *state.means)], list(state.history)
    Run(config, run.images, precision, state)
    assert ([each.tobytes() for each in (*state.network, *state.optimizer, *state.means)], state.history) == before


def test_a_state_that_was_saved_is_not_changed_by_the_steps_after_it(composed, made_up_split):
    states = []
    pretrain(composed(*TINY).recipe, made_up_split(50), "float32", (), Saving(None, states.append, minutes=0))
    assert [len(state.history) for state in states] == [0, 0, 1, 1, 1, 2, 2, 2, 3]
    for part in ("network", "optimizer", "means"):
        assert len({b"".join(each.tobytes() for each in getattr(state, part)) for state in states}) == 9


def state_before_the_first_step(config) -> Checkpoint:
    """A state as another configuration would have left it, with zeros in it."""
    network = build_network(config.encoder, config.head, 1, 16, 0)
    built = build_optimizer(config.optimizer, 9, 3, 16)
    built.build(network.trainable_variables)
    shapes = ([np.zeros(each.shape) for each in some] for some in (network.weights, built.variables))
    return Checkpoint(4, *shapes, [], [{"epoch": 0, "loss": 0.0}], 1.0)


@pytest.mark.parametrize("other", ["encoder.widths=[8,16]", "head=none", "optimizer=sgd"])
def test_the_state_of_another_network_or_optimizer_is_not_used_and_that_is_said(composed, made_up_split, caplog, other):
    config, images = composed(*TINY, "pretrain.epochs=1"), made_up_split(50)
    theirs = state_before_the_first_step(composed(*TINY, other))
    with caplog.at_level(logging.WARNING):
        done = Run(config, images, "float32", theirs, minutes=0)
    assert "cannot be used: starting from the beginning" in caplog.text
    assert [state.step for state in done.states] == [1, 2, 3]
    assert [row["epoch"] for row in done.done.history] == [0]
    assert done.done.history[0]["loss"] > 1


@pytest.mark.parametrize(("epochs", "saved_at"), [(2, [6, 12]), (5, [15]), (0, [])])
def test_states_are_saved_at_exactly_the_multiples_of_checkpoint_epochs(composed, made_up_split, epochs, saved_at):
    run = Run(composed(*TINY, "pretrain.epochs=5"), made_up_split(50), "float32", epochs=epochs)
    assert [state.step for state in run.states] == saved_at
    assert [len(state.history) for state in run.states] == [step // STEPS_PER_EPOCH for step in saved_at]


def test_multiples_are_counted_from_the_beginning_of_the_run_not_from_where_it_goes_on(uninterrupted):
    config, precision, run = uninterrupted("adamw")
    resumed = Run(config, run.images, precision, run.states[3], epochs=2)
    assert [state.step for state in resumed.states] == [6]


def test_the_history_file_of_a_resumed_run_is_the_same_to_the_byte(composed, made_up_split, tmp_path):
    config, images = composed(*TINY), made_up_split(50)
    states = []

    def run(path, start):
        before = start.history if start else ()
        history = ShowHistory([partial(write_history, path)], before)
        if before:
            write_history(path, before)
        run = Run(config, images, "float32", start, [history], minutes=0)
        states.extend(run.states)
        return path.read_bytes()

    whole = run(tmp_path / "whole.csv", None)
    assert whole.count(b"\n") == 4
    for start in (states[4], states[5]):
        assert run(tmp_path / "resumed.csv", start) == whole
