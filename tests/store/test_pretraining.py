"""A pretraining on disk: published whole, verified when it is found, its damage set aside and told."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from simclr import store
from simclr.config.validation import as_yaml
from simclr.foundation import machine
from simclr.foundation.errors import InvalidInput
from simclr.foundation.files import MANIFEST, SET_ASIDE, Damaged
from simclr.model.network import build_network, variables_by_name
from simclr.store.pretraining import PUBLISHING, load_arrays, save_arrays
from simclr.training.checkpoint import Checkpoint
from tests.mounts import small_disk
from tests.store.damage import damage
from tests.training.test_pretrain import TINY

KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def config(composed):
    return composed(*TINY)


@pytest.fixture(scope="module")
def network(config):
    return build_network(config.encoder, config.head, 1, config.pretrain.side, config.seed)


@pytest.fixture(scope="module")
def original(config, network, tmp_path_factory):
    """A root with one finished pretraining."""
    root = tmp_path_factory.mktemp("original")
    make(root, KEY, config, network)
    return root


@pytest.fixture
def root(original, tmp_path):
    shutil.copytree(original, tmp_path / "runs")
    return tmp_path / "runs"


def make(root: Path, key: str, config, network) -> store.Pretraining:
    where = store.folder(root, key)
    where.mkdir(parents=True, exist_ok=True)
    (where / store.HISTORY).write_bytes(b"epoch,loss\r\n1,3.5\r\n")
    (where / store.CONFIG).write_text(as_yaml(config))
    return store.publish(
        where, variables_by_name(network), {"channels": 1, "versions": machine.versions(), "loss": 3.5}
    )


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def set_aside(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SET_ASIDE}*"))


# Publishing and finding


def test_what_was_published_is_found_with_every_bit(root, network):
    found = store.find(root, KEY)
    assert found.key == KEY
    assert found.manifest["loss"] == 3.5
    assert found.manifest["key"] == KEY
    weights = variables_by_name(network)
    assert {name: value.tobytes() for name, value in found.weights().items()} == {
        name: value.tobytes() for name, value in weights.items()
    }


def test_publishing_returns_what_is_found_later(config, network, tmp_path):
    made = make(tmp_path, KEY, config, network)
    found = store.find(tmp_path, KEY)
    assert (found.folder, found.manifest) == (made.folder, made.manifest)


def test_what_is_not_there_is_not_found(tmp_path):
    assert store.find(tmp_path, KEY) is None
    assert store.find(tmp_path / "missing", KEY) is None


def test_an_unfinished_one_is_not_found_and_is_no_damage(tmp_path):
    where = store.folder(tmp_path, KEY)
    where.mkdir(parents=True)
    assert store.find(tmp_path, KEY) is None
    Checkpoint(3, [], [], [], [], 1.0).save(where / store.CHECKPOINT)
    (where / store.HISTORY).write_bytes(b"epoch\r\n")
    assert store.find(tmp_path, KEY) is None
    save_arrays(where / store.WEIGHTS, {"a": np.zeros(3)})  # killed while publishing
    assert store.find(tmp_path, KEY) is None


def test_publishing_takes_the_checkpoint_away_when_the_manifest_is_there(config, network, tmp_path):
    where = store.folder(tmp_path, KEY)
    where.mkdir(parents=True)
    Checkpoint(3, [], [], [], [], 1.0).save(where / store.CHECKPOINT)
    shutil.copytree(where, tmp_path / "kept")
    for name in (store.HISTORY, store.CONFIG):
        (where / name).write_bytes(b"")
    store.publish(where, {"a": np.zeros(3)}, {})
    assert {path.name for path in where.iterdir()} == {store.WEIGHTS, store.HISTORY, store.CONFIG, MANIFEST}


@pytest.mark.parametrize("left", [0, 40_000], ids=["nothing left", "a little left"])
def test_on_a_full_disk_nothing_is_published_and_the_checkpoint_stays(tmp_path, left):
    with small_disk(tmp_path, megabytes=2) as disk:
        where = store.folder(disk.path, KEY)
        where.mkdir(parents=True)
        Checkpoint(3, [], [], [], [], 1.0).save(where / store.CHECKPOINT)
        for name in (store.HISTORY, store.CONFIG):
            (where / name).write_bytes(b"text")
        disk.leave(left)
        with pytest.raises(OSError, match="No space left on device"):
            store.publish(where, {"a": np.zeros(100_000)}, {})
        assert store.find(disk.path, KEY) is None
        left = {path.name for path in where.iterdir()} - {PUBLISHING}
        assert left == {store.CHECKPOINT, store.HISTORY, store.CONFIG}
        disk.make_room()
        store.publish(where, {"a": np.zeros(100_000)}, {})
        assert store.find(disk.path, KEY) is not None


@pytest.mark.parametrize("name", [store.WEIGHTS, store.HISTORY, store.CONFIG])
@pytest.mark.parametrize("kind", ["truncated", "flipped", "removed"])
def test_damage_of_each_file_is_found_and_the_file_named(root, name, kind):
    damage(store.folder(root, KEY) / name, kind)
    with pytest.raises(Damaged, match=name):
        store.find(root, KEY)


@pytest.mark.parametrize("kind", ["truncated", "flipped", "removed"])
def test_damage_of_the_manifest_is_found(root, kind):
    damage(store.folder(root, KEY) / MANIFEST, kind)
    with pytest.raises(Damaged, match=MANIFEST):
        store.find(root, KEY)


def test_a_manifest_that_does_not_vouch_for_every_file_is_damage(root, network):
    store_folder = store.folder(root, KEY)
    from simclr.foundation.files import seal

    seal(store_folder, [store.WEIGHTS], {"key": KEY})
    with pytest.raises(Damaged, match="does not name every file"):
        store.find(root, KEY)


def test_those_that_were_set_aside_are_not_among_them(root):
    shutil.copytree(store.folder(root, KEY), store.folder(root, f"{KEY}{SET_ASIDE}20260101T000000"))
    (root / "pretrained" / f".{KEY}.claim").mkdir()
    (root / "pretrained" / "a file").write_text("")
    (root / "pretrained" / "unfinished").mkdir()
    assert [path.name for path in store.every(root)] == [KEY, "unfinished"]
    assert list(store.every(root / "missing")) == []


# Setting aside


def test_nothing_is_set_aside_of_what_is_in_order(root):
    before, said = content(root), []
    store.clear(root, KEY, said.append)
    store.clear(root, "another", said.append)
    assert content(root) == before
    assert said == []


@pytest.mark.parametrize("name", [store.WEIGHTS, store.HISTORY, store.CONFIG, MANIFEST])
@pytest.mark.parametrize("kind", ["truncated", "flipped", "removed"])
def test_a_damaged_pretraining_is_set_aside_whole_and_that_is_said(root, name, kind):
    where, said = store.folder(root, KEY), []
    damage(where / name, kind)
    before = content(where)
    store.clear(root, KEY, said.append)
    (aside,) = set_aside(where.parent)
    assert content(aside) == before
    assert len(said) == 1
    assert name in said[0]
    assert said[0].endswith(f"set aside as {aside.name}, and pretrained again")
    assert store.find(root, KEY) is None


def test_what_was_set_aside_before_is_kept(root, config, network):
    where = store.folder(root, KEY)
    for _ in range(3):
        damage(where / store.WEIGHTS, "flipped")
        store.clear(root, KEY, lambda _: None)
        make(root, KEY, config, network)
    assert len(set_aside(where.parent)) == 3


def test_one_that_was_killed_between_weights_and_manifest_is_unfinished_and_no_damage(root):
    where = store.folder(root, KEY)
    (where / MANIFEST).unlink()
    (where / PUBLISHING).touch()
    assert store.find(root, KEY) is None
    said: list[str] = []
    store.clear(root, KEY, said.append)
    assert said == []
    assert set_aside(where.parent) == []
    assert store.find(root, KEY) is None


def test_a_checkpoint_that_cannot_be_read_is_set_aside_and_that_is_said(tmp_path):
    said = []
    assert store.checkpoint(tmp_path, said.append) is None
    assert said == []
    Checkpoint(3, [np.zeros(100)], [], [], [], 1.0).save(tmp_path / store.CHECKPOINT)
    assert store.checkpoint(tmp_path, said.append).step == 3
    damage(tmp_path / store.CHECKPOINT, "truncated")
    broken = (tmp_path / store.CHECKPOINT).read_bytes()
    assert store.checkpoint(tmp_path, said.append) is None
    assert len(said) == 1
    assert "checkpoint.npz cannot be read: set aside as checkpoint.npz.set-aside" in said[0]
    assert said[0].endswith("starting from the beginning")
    assert (tmp_path / "checkpoint.npz.set-aside").read_bytes() == broken
    assert store.checkpoint(tmp_path, said.append) is None
    assert len(said) == 1


# Loading


def test_a_loaded_network_does_what_the_pretrained_one_did(root, network):
    images = np.random.default_rng(0).random((5, 16, 16, 1), np.float32)
    loaded = store.load(root, KEY)
    assert np.asarray(loaded(images)).tobytes() == np.asarray(network(images)).tobytes()
    assert loaded.compute_dtype == "float32"


def test_the_first_digits_of_a_key_are_enough_where_they_tell_it_from_the_others(root, config, network):
    make(root, "0fff000000000000", config, network)
    assert store.load(str(root), "01").count_params() == network.count_params()
    with pytest.raises(InvalidInput, match=f"KEY=0: ambiguous below .*; known: {KEY}, 0fff000000000000"):
        store.load(root, "0")


@pytest.mark.parametrize("key", ["f", "", f"{KEY}0", "../pretrained", "*"])
def test_an_unknown_key_is_an_error_that_lists_those_there_are(root, key):
    with pytest.raises(InvalidInput, match=f"no such pretraining below .*; known: {KEY}$"):
        store.load(root, key)


def test_in_an_empty_store_no_key_is_known(tmp_path):
    with pytest.raises(InvalidInput, match="known: none"):
        store.load(tmp_path, KEY)


def test_a_damaged_or_unfinished_network_is_not_loaded(root):
    damage(store.folder(root, KEY) / store.WEIGHTS, "flipped")
    with pytest.raises(InvalidInput, match=r"is damaged: network\.npz has changed"):
        store.load(root, KEY)
    (root / "pretrained" / "fff").mkdir()
    with pytest.raises(InvalidInput, match="is not finished yet"):
        store.load(root, "fff")


def test_weights_of_another_network_than_the_configuration_means_are_damage(root, config, composed):
    other = composed(*TINY, "head.output=4")
    where = store.folder(root, "abc")
    where.mkdir()
    (where / store.HISTORY).write_bytes(b"")
    (where / store.CONFIG).write_text(as_yaml(other))
    made = store.publish(where, store.find(root, KEY).weights(), {"channels": 1})
    with pytest.raises(Damaged, match="projection"):
        store.network(made)


def test_loading_executes_nothing_that_is_in_the_file(tmp_path):
    touched = tmp_path / "executed"

    class Executed:
        def __reduce__(self):
            return os.mkdir, (str(touched),)

    np.savez(tmp_path / store.WEIGHTS, weights=np.array([Executed()], dtype=object))
    with pytest.raises(Damaged, match=r"network\.npz cannot be read"):
        load_arrays(tmp_path / store.WEIGHTS)
    assert not touched.exists()


def test_a_store_of_another_tensorflow_or_keras_is_remarked_upon(root):
    found = store.find(root, KEY)
    assert store.made_with_other_versions(found) == ""
    here = machine.versions()
    other = store.Pretraining(found.folder, {**found.manifest, "versions": {**here, "keras": "2.0.0"}})
    assert store.made_with_other_versions(other) == f", made with keras 2.0.0 (here: {here['keras']})"
    neither = store.Pretraining(found.folder, {})
    assert "tensorflow None" in store.made_with_other_versions(neither)


def test_the_manifest_is_plain_json_that_names_every_file(root):
    manifest = json.loads((store.folder(root, KEY) / MANIFEST).read_text())
    assert set(manifest["files"]) == {store.WEIGHTS, store.HISTORY, store.CONFIG}
