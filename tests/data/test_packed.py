"""CIFAR-10, CIFAR-100 and STL-10: small archives of the same format, from a local server or a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simclr.config import DataConfig
from simclr.data import Images, catalogue, digest, load
from simclr.data.packed import CIFAR10, CIFAR100, PACKED, STL10, Packed
from simclr.data.parts import taken
from simclr.foundation.errors import InvalidInput, RunFailed
from tests.data.samples import Server, packed

RANDOM = np.random.default_rng(0)


def pixels(count: int, side: int) -> np.ndarray:
    """(count, S, S, 3) uint8."""
    return RANDOM.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def cifar_records(images: np.ndarray, *labels: list[int]) -> bytes:
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([np.array(labels, np.uint8).T, planes], axis=1).tobytes()


def stl_records(images: np.ndarray) -> bytes:
    return images.transpose(0, 3, 2, 1).tobytes()


class Small:
    """A small set of the format of one of the three, and what is in its archive."""

    def __init__(self, like: Packed) -> None:
        self.train_labels = [label for label in (1, 0) for _ in range(2)]
        self.test_labels = [0, 1]
        self.unlabeled = pixels(3 if like.unlabeled else 0, like.side)
        self.train, self.test = pixels(4, like.side), pixels(2, like.side)
        classes = ("zebra", "ant")  # not in order, as those of CIFAR-100's archive might be
        self.files = {"top/readme.html": b"<html>", **self._contents(like)}
        self.content = packed(self.files)
        self.set = replace(
            like,
            sha256=hashlib.sha256(self.content).hexdigest(),
            size=len(self.content),
            classes=classes,
            train=2,
            test=1,
            unlabeled=len(self.unlabeled),
        )

    def _contents(self, like: Packed) -> dict[str, bytes]:
        if like is STL10:
            parts = {"train": self.train, "test": self.test, "unlabeled": self.unlabeled}
            labels = {"train": self.train_labels, "test": self.test_labels}
            return {f"top/{part}_X.bin": stl_records(images) for part, images in parts.items()} | {
                f"top/{part}_y.bin": bytes(label + 1 for label in given) for part, given in labels.items()
            }
        coarse = [[9] * 4] if like is CIFAR100 else []
        if like is CIFAR100:
            train = {"top/train.bin": cifar_records(self.train, *coarse, self.train_labels)}
        else:
            train = {
                f"top/data_batch_{number}.bin": cifar_records(self.train[[at]], [self.train_labels[at]])
                for number, at in ((1, 0), (2, 1), (3, 2), (4, 3))
            }
            train["top/data_batch_5.bin"] = b""
        name = "top/test.bin" if like is CIFAR100 else "top/test_batch.bin"
        return train | {name: cifar_records(self.test, *([[9] * 2] if coarse else []), self.test_labels)}

    def expected(self, part: str) -> list[np.ndarray]:
        """Images of the classes ant and zebra, in this order."""
        images, labels = getattr(self, part), np.array(getattr(self, f"{part}_labels"))
        return [*images[labels == 1], *images[labels == 0]]


@pytest.fixture(params=[CIFAR10, CIFAR100, STL10], ids=lambda like: like.name)
def small(request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch) -> Small:
    made = Small(request.param)
    if request.param is CIFAR10:  # five files in the real one, of which none is empty
        made.set = replace(made.set, files=tuple(f for f in made.set.files if "5" not in f))
    server.content = made.content
    made.set = replace(made.set, url=f"{server.url}/kriz/{made.set.archive}")
    monkeypatch.setitem(PACKED, made.set.name, made.set)
    return made


@pytest.fixture
def loaded(small: Small, cache: Path, lines: list[str]) -> Callable[[], Images]:
    return lambda: load(DataConfig(small.set.name, image_size=small.set.side), cache, lines.append)


def test_its_images_are_those_of_the_archive_pixel_by_pixel(small: Small, loaded: Callable[[], Images]) -> None:
    images = loaded()
    assert images.classes == ("ant", "zebra")
    assert images.counts == {"ant": [2, 1], "zebra": [2, 1]}
    np.testing.assert_array_equal(images.train.at(np.arange(4))[0], small.expected("train"))
    np.testing.assert_array_equal(images.test.at(np.arange(2))[0], small.expected("test"))
    assert images.train.labels.tolist() == [0, 0, 1, 1]
    assert len(images.unlabeled) == len(small.unlabeled)
    if len(small.unlabeled):
        np.testing.assert_array_equal(images.unlabeled.at(np.arange(3))[0], small.unlabeled)
    assert images.ignored == 0


def test_it_is_downloaded_once(small: Small, loaded: Callable[[], Images], server: Server) -> None:
    first, second = loaded(), loaded()
    assert first.digest == second.digest
    assert server.paths == [f"/kriz/{small.set.archive}"]


def test_what_it_is_can_be_said_before_it_is_there(small: Small, loaded: Callable[[], Images], cache: Path) -> None:
    config = DataConfig(small.set.name, image_size=small.set.side)
    before = catalogue(config, cache)
    assert before.needs_download
    known = digest(before, cache)
    images = loaded()
    after = catalogue(config, cache)
    assert not after.needs_download
    assert known == images.digest == digest(after, cache)
    for part in ("train", "test", "unlabeled"):
        np.testing.assert_array_equal(getattr(before, part).labels, getattr(after, part).labels)
    held_out = [digest(taken(each, 0.5, 1.0), cache) for each in (before, after)]
    assert held_out[0] == held_out[1] != known


def test_an_archive_on_this_machine_is_taken(
    small: Small, loaded: Callable[[], Images], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / small.set.archive).write_bytes(small.content)
    monkeypatch.setenv("SIMCLR_DATA", str(tmp_path / "shared"))
    assert len(loaded().train) == 4
    assert server.paths == []
    assert (tmp_path / "shared" / small.set.archive).exists()


def test_another_archive_on_this_machine_is_refused(small: Small, cache: Path, tmp_path: Path) -> None:
    other = tmp_path / small.set.archive
    other.write_bytes(packed({"top/test.bin": b"another"}))
    config = DataConfig(small.set.name, root=str(other), image_size=32)
    with pytest.raises(InvalidInput, match=r"wrong bytes: the archive is [0-9a-f]{12}, expected was"):
        load(config, cache)
    with pytest.raises(InvalidInput, match=f"data.root={tmp_path / 'none'}: no {small.set.archive} there"):
        catalogue(replace(config, root=str(tmp_path / "none")), cache)
    assert not small.set.cached(cache).exists()


def test_a_download_that_was_cut_short_goes_on(small: Small, loaded: Callable[[], Images], server: Server) -> None:
    server.cut_at = 300
    with pytest.raises(RunFailed, match=r"cut short.*starting again goes on from it"):
        loaded()
    server.cut_at = None
    assert len(loaded().train) == 4
    assert server.asked == [None, "bytes=300-"]


def test_wrong_bytes_are_never_unpacked(small: Small, loaded: Callable[[], Images], server: Server) -> None:
    server.content = packed({**small.files, "top/more": b"x"})[: len(server.content)]
    with pytest.raises(RunFailed, match="wrong bytes"):
        loaded()


@pytest.mark.parametrize("damage", ["changed", "removed", "added"])
def test_a_copy_that_is_no_longer_what_was_unpacked_is_made_again(
    small: Small, loaded: Callable[[], Images], cache: Path, lines: list[str], damage: str
) -> None:
    loaded()
    first = next((small.set.cached(cache) / "train").rglob("*.bmp"))
    content = first.read_bytes()
    if damage == "changed":
        first.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "removed":
        first.unlink()
    else:
        first.with_name("more.bmp").write_bytes(content)
    images = loaded()
    np.testing.assert_array_equal(images.train.at(np.arange(4))[0], small.expected("train"))
    assert any("is not what was unpacked: set aside" in line for line in lines)


def broken(like: Packed, files: dict[str, bytes], tmp_path: Path) -> str:
    content = packed(files)
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(content)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(RunFailed) as caught:
        replace(like, sha256=hashlib.sha256(content).hexdigest()).unpack(archive, folder, print)
    return str(caught.value)


def test_what_an_archive_lacks_is_told(tmp_path: Path) -> None:
    assert "no data_batch_1.bin in it" in broken(CIFAR10, {"top/readme": b""}, tmp_path)


def test_half_a_record_is_told(tmp_path: Path) -> None:
    assert "train.bin has 99 bytes, not a multiple of 3,074" in broken(CIFAR100, {"top/train.bin": b"x" * 99}, tmp_path)


def test_a_label_of_no_class_is_told(tmp_path: Path) -> None:
    record = cifar_records(pixels(1, 32), [10])
    assert "has the label 10 of 10 classes" in broken(CIFAR10, {"top/data_batch_1.bin": record}, tmp_path)


def test_labels_that_are_not_as_many_as_images_are_told(tmp_path: Path) -> None:
    files = {"top/train_X.bin": stl_records(pixels(2, 96)), "top/train_y.bin": b"\x01"}
    assert "1 labels for 2 images of train" in broken(STL10, files, tmp_path)


@pytest.mark.parametrize("like", [CIFAR10, CIFAR100, STL10], ids=lambda like: like.name)
def test_the_real_ones_are_known(like: Packed) -> None:
    assert len(like.classes) == len(set(like.classes)) == (100 if like is CIFAR100 else 10)
    assert (like.images, len(like.sha256)) == (113_000 if like is STL10 else 60_000, 64)
    assert like.archive in ("cifar-10-binary.tar.gz", "cifar-100-binary.tar.gz", "stl10_binary.tar.gz")
