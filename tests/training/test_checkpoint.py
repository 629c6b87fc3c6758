"""A checkpoint's file: everything comes back to the bit, or the damage is found."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simclr.foundation.files import Damaged
from simclr.model.network import build_network
from simclr.training.checkpoint import Checkpoint
from simclr.training.optimizer import build_optimizer
from tests.mounts import small_disk
from tests.training.test_pretrain import TINY

PARTS = ("network", "optimizer", "means")


def made_up() -> Checkpoint:
    """A state with what is rare in it: values that are not finite, signs of zero, scalars, nothing, float16."""
    generator = np.random.default_rng(0)
    return Checkpoint(
        step=37,
        network=[generator.normal(size=(3, 3, 1, 8)).astype(np.float32), np.array([np.nan, -0.0, np.inf], np.float32)],
        optimizer=[np.array(37, np.int64), np.array(32768, np.float16), np.zeros((0, 4), np.float32), np.array(True)],
        means=[np.array(np.nextafter(np.float32(1), 2)), np.array(3, np.float32)],
        history=[{"epoch": 0, "loss": 4.1, "monitor/knn_accuracy": math.nan}, {"epoch": 1, "loss": 1 / 3}],
        seconds=0.1 + 0.2,
    )


def content(state: Checkpoint) -> tuple[object, ...]:
    """All that is in a state, so that two are equal only if every bit is."""
    arrays = {
        part: [(array.dtype.str, array.shape, array.tobytes()) for array in getattr(state, part)] for part in PARTS
    }
    return state.step, arrays, json.dumps(state.history), state.seconds.hex()


def test_everything_comes_back_to_the_bit(tmp_path):
    made_up().save(tmp_path / "checkpoint.npz")
    assert content(Checkpoint.load(tmp_path / "checkpoint.npz")) == content(made_up())


def test_an_epoch_without_a_measurement_comes_back_as_that(tmp_path):
    made_up().save(tmp_path / "checkpoint.npz")
    first, second = Checkpoint.load(tmp_path / "checkpoint.npz").history
    assert math.isnan(first["monitor/knn_accuracy"])
    assert "monitor/knn_accuracy" not in second


@given(st.integers(0, 2**53), st.lists(st.floats(width=64)), st.floats(0, 1e9))
def test_any_history_comes_back(step, losses, seconds):
    history = [{"epoch": epoch, "loss": loss} for epoch, loss in enumerate(losses)]
    state = Checkpoint(step, [], [], [], history, seconds)
    with tempfile.TemporaryDirectory() as folder:
        state.save(Path(folder) / "checkpoint.npz")
        assert content(Checkpoint.load(Path(folder) / "checkpoint.npz")) == content(state)


def test_many_arrays_come_back_in_their_order(tmp_path):
    state = Checkpoint(0, [np.array(number) for number in range(1234)], [], [], [], 0.0)
    state.save(tmp_path / "checkpoint.npz")
    assert [int(array) for array in Checkpoint.load(tmp_path / "checkpoint.npz").network] == list(range(1234))


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
def test_every_variable_of_a_run_is_of_a_type_that_the_file_keeps(composed, tmp_path, name, precision):
    config = composed(*TINY, f"optimizer={name}")
    network = build_network(config.encoder, config.head, 1, 16, 0, precision=precision)
    optimizer = build_optimizer(config.optimizer, 9, 3, 16)
    if precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(network.trainable_variables)
    state = Checkpoint(
        0, [each.numpy() for each in network.weights], [each.numpy() for each in optimizer.variables], [], [], 0.0
    )
    state.save(tmp_path / "checkpoint.npz")
    assert content(Checkpoint.load(tmp_path / "checkpoint.npz")) == content(state)


def test_where_there_is_no_file_there_is_no_checkpoint(tmp_path):
    assert Checkpoint.load(tmp_path / "checkpoint.npz") is None
    assert Checkpoint.load(tmp_path / "missing" / "checkpoint.npz") is None


@pytest.mark.parametrize("garbage", [b"", b"\0", b"PK\x03\x04", b"\x93NUMPY", bytes(10_000), b"not a checkpoint"])
def test_what_is_no_checkpoint_is_damage_that_names_the_file(tmp_path, garbage):
    (tmp_path / "checkpoint.npz").write_bytes(garbage)
    with pytest.raises(Damaged, match=r"checkpoint\.npz cannot be read"):
        Checkpoint.load(tmp_path / "checkpoint.npz")


def test_a_file_of_other_arrays_is_damage(tmp_path):
    np.savez(tmp_path / "checkpoint.npz", weights=np.zeros(3))
    with pytest.raises(Damaged):
        Checkpoint.load(tmp_path / "checkpoint.npz")


def test_loading_executes_nothing_that_is_in_the_file(tmp_path):
    touched = tmp_path / "executed"

    class Executed:
        def __reduce__(self):
            return Path.touch, (touched,)

    np.savez(tmp_path / "checkpoint.npz", **{"network/00000": np.array([Executed()], dtype=object)})
    with pytest.raises(Damaged):
        Checkpoint.load(tmp_path / "checkpoint.npz")
    assert not touched.exists()


def same_or_damaged(path: Path, changed: bytes) -> None:
    path.write_bytes(changed)
    try:
        found = Checkpoint.load(path)
    except Damaged:
        return
    assert content(found) == content(made_up())


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "checkpoint.npz"
    made_up().save(path)
    return path.read_bytes()


def test_a_file_cut_anywhere_is_damage(saved, tmp_path):
    path = tmp_path / "checkpoint.npz"
    for length in range(0, len(saved), 5):
        path.write_bytes(saved[:length])
        with pytest.raises(Damaged):
            Checkpoint.load(path)


def test_a_bit_changed_anywhere_is_found_or_harmless(saved, tmp_path):
    """Harmless is, say, a date in the zip file's directory, which nobody reads."""
    for position in range(0, len(saved), 3):
        changed = bytearray(saved)
        changed[position] ^= 1 << position % 8
        same_or_damaged(tmp_path / "checkpoint.npz", bytes(changed))


@given(st.data())
def test_any_stretch_of_the_file_overwritten_is_found_or_harmless(saved, data):
    start = data.draw(st.integers(0, len(saved) - 1))
    stretch = data.draw(st.binary(min_size=1, max_size=40))
    changed = (saved[:start] + stretch + saved[start + len(stretch) :])[: len(saved)]
    with tempfile.TemporaryDirectory() as folder:
        same_or_damaged(Path(folder) / "checkpoint.npz", changed)


def test_the_next_one_replaces_it_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "checkpoint.npz"
    made_up().save(path)
    Checkpoint(38, [], [], [], [], 1.0).save(path)
    assert Checkpoint.load(path).step == 38
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.npz"]


def test_on_a_full_disk_the_one_before_stays(tmp_path):
    with small_disk(tmp_path, megabytes=2) as disk:
        path = disk.path / "checkpoint.npz"
        made_up().save(path)
        disk.leave(16_384)
        larger = Checkpoint(38, [np.zeros(100_000, np.float32)], [], [], [], 1.0)
        with pytest.raises(OSError, match="No space left on device"):
            larger.save(path)
        assert content(Checkpoint.load(path)) == content(made_up())
        assert {entry.name for entry in disk.path.iterdir()} == {"checkpoint.npz", "filler"}
