"""Features on disk: written a few images at a time, mapped as they are read, verified, set aside where damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simclr.foundation.files import MANIFEST, SET_ASIDE, Damaged
from simclr.store.features import cleared, find, publish, writing
from simclr.store.pretraining import Pretraining
from tests.mounts import small_disk
from tests.store.damage import damage

LAYERS = {"encoder": 5, "projection": 3}
FILES = ["train.npy", "test.npy", "views.npy"]


def arrays(count: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(count)
    return {layer: generator.normal(size=(count, width)).astype(np.float32) for layer, width in LAYERS.items()}


def write(folders: dict[str, Path], part: str, count: int) -> None:
    whole = arrays(count)
    with writing(folders, part, count) as append:
        for start in range(0, count, 3):
            append({layer: features[start : start + 3] for layer, features in whole.items()})


@pytest.fixture
def folders(tmp_path):
    """Of two layers, the features of seven training and four test images."""
    made = {layer: tmp_path / layer for layer in LAYERS}
    for part, count in (("train", 7), ("test", 4)):
        write(made, part, count)
    for folder in made.values():
        publish(folder, {"alignment": 0.25}, np.full((2, 2, 4, 4, 1), 7, np.uint8))
    return made


def test_they_come_back_with_every_bit_and_are_mapped(folders):
    for layer, folder in folders.items():
        found = find(folder)
        assert isinstance(found.train, np.memmap)
        assert found.train.tobytes() == arrays(7)[layer].tobytes()
        assert found.test.tobytes() == arrays(4)[layer].tobytes()
        assert found.example_views.shape == (2, 2, 4, 4, 1)
        assert found.alignment == 0.25


def test_they_are_plain_arrays_for_anyone(folders):
    np.testing.assert_array_equal(np.load(folders["encoder"] / "test.npy"), arrays(4)["encoder"])


def test_until_all_images_are_there_no_file_is(tmp_path):
    folders = {layer: tmp_path / layer for layer in LAYERS}
    with pytest.raises(RuntimeError), writing(folders, "train", 7) as append:
        append({layer: features[:3] for layer, features in arrays(7).items()})
        raise RuntimeError
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_is_not_sealed_is_not_there(folders):
    (folders["encoder"] / MANIFEST).unlink()
    assert find(folders["encoder"]) is None
    assert find(folders["projection"]) is not None


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["truncated", "flipped", "removed"])
def test_damage_is_found_and_that_layer_set_aside_alone_and_that_is_said(folders, name, kind):
    folder, said = folders["encoder"], []
    damage(folder / name, kind)
    with pytest.raises(Damaged, match=name):
        find(folder)
    assert cleared(folder, said.append) is None
    (aside,) = folder.parent.glob(f"*{SET_ASIDE}*")
    assert len(said) == 1
    assert name in said[0]
    assert said[0].endswith(f"set aside as {aside.name}, and computed again")
    assert find(folders["projection"]) is not None


def test_on_a_full_disk_nothing_is_left_of_them(tmp_path):
    with small_disk(tmp_path, megabytes=2) as disk:
        disk.leave(20_000)
        folders = {"encoder": disk.path / "encoder"}
        with pytest.raises(OSError, match="No space left"), writing(folders, "train", 10_000) as append:
            for _ in range(10):
                append({"encoder": np.zeros((1000, 8), np.float32)})
        assert list(folders["encoder"].iterdir()) == []


def test_networks_views_and_layers_each_have_a_folder_of_their_own(tmp_path):
    pretraining = Pretraining(tmp_path, {})
    places = {
        pretraining.features_folder(seen, network, layer)
        for seen in ("16px-whole", "32px-whole")
        for network in ("trained", "untrained")
        for layer in ("encoder", "relu_1")
    }
    assert len(places) == 8
