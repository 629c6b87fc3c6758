from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from simclr.config import DataConfig
from simclr.data import Images, arrays, imagenet5, load
from simclr.foundation.errors import InvalidInput, RunFailed

from .samples import Tree, encoded, picture

FILES = ("train_pixels.npy", "train_aspect.npy", "test_pixels.npy", "test_aspect.npy")


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each decoding of a set has, as it happens."""
    counts: list[int] = []
    decode_all = arrays.decode_all

    def counted(paths: list[Path], side: int, **options: Any) -> object:
        counts.append(len(paths))
        return decode_all(paths, side, **options)

    monkeypatch.setattr(arrays, "decode_all", counted)
    return counts


def folder_of(images: Images, cache: Path, side: int = 8) -> Path:
    return cache / "images" / f"{images.digest}-{side}"


def same(one: Images, other: Images) -> None:
    for ours, theirs in ((one.train, other.train), (one.test, other.test)):
        np.testing.assert_array_equal(ours.pixels, theirs.pixels)
        np.testing.assert_array_equal(ours.aspect, theirs.aspect)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        assert ours.paths == theirs.paths


def test_a_folder_of_images_becomes_arrays(tree: Tree, cache: Path) -> None:
    tree.add("train/cat/.DS_Store", b"")
    tree.add("train/dog/3.png", encoded(Image.new("RGB", (30, 10), (10, 200, 30)), "PNG"))
    images = load(tree.config(side=16), cache)
    assert images.classes == ("cat", "dog")
    assert images.ignored == 1
    assert (images.train.pixels.shape, images.train.pixels.dtype) == ((6, 16, 16, 3), np.uint8)
    assert (images.test.pixels.shape, len(images.test)) == ((2, 16, 16, 3), 2)
    assert isinstance(images.train.pixels, np.memmap)
    assert images.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (images.train.aspect.dtype, images.train.aspect[0], images.train.aspect[5]) == (
        np.float32,
        np.float32(12 / 9),
        3,
    )
    assert images.train.paths[5] == "train/dog/3.png"
    np.testing.assert_array_equal(images.train.pixels[5, 3, 4], (10, 200, 30))


def test_arrays_cannot_be_written_to(tree: Tree, cache: Path) -> None:
    for images in (load(tree.config(), cache), load(DataConfig("digits", None, 8), cache)):
        for array in (images.train.pixels, images.train.aspect, images.train.labels):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


def test_the_digits_are_resized_with_one_channel_and_nothing_is_written(cache: Path) -> None:
    images = load(DataConfig("digits", None, 16), cache)
    assert images.train.pixels.shape == (1347, 16, 16, 1)
    assert images.test.pixels.shape == (450, 16, 16, 1)
    assert images.train.pixels.dtype == np.uint8
    assert set(images.train.aspect.tolist()) == {1.0}
    assert (images.train.paths, images.ignored) == ((), 0)
    assert np.bincount(images.test.labels).tolist() == [44, 46, 44, 46, 45, 46, 45, 45, 44, 45]
    assert not cache.exists()


def test_a_second_start_decodes_nothing(tree: Tree, cache: Path, decodings: list[int]) -> None:
    first = load(tree.config(), cache)
    assert decodings == [7]
    same(load(tree.config(), cache), first)
    assert decodings == [7]


def test_each_size_is_kept_by_itself(tree: Tree, cache: Path, decodings: list[int]) -> None:
    load(tree.config(side=8), cache)
    assert load(tree.config(side=12), cache).train.pixels.shape == (5, 12, 12, 3)
    load(tree.config(side=8), cache)
    assert decodings == [7, 7]


def test_a_changed_image_is_decoded_anew(tree: Tree, cache: Path) -> None:
    before = load(tree.config(), cache)
    tree.add("train/cat/1.jpg", encoded(picture(seed=99)))
    after = load(tree.config(), cache)
    assert after.digest != before.digest
    assert not np.array_equal(after.train.pixels[0], before.train.pixels[0])


@pytest.mark.parametrize("file", FILES)
def test_a_truncated_array_is_set_aside_and_built_again(tree: Tree, cache: Path, lines: list[str], file: str) -> None:
    first = load(tree.config(), cache)
    folder = folder_of(first, cache)
    kept = {name: (folder / name).read_bytes() for name in FILES}
    (folder / file).write_bytes(kept[file][:-1])
    again = load(tree.config(), cache, lines.append)
    assert {name: (folder / name).read_bytes() for name in FILES} == kept
    assert again.train.pixels.shape == (5, 8, 8, 3)
    (aside,) = folder.parent.glob(f"{folder.name}.set-aside-*")
    assert (aside / file).read_bytes() == kept[file][:-1]
    assert any("set aside" in line for line in lines)


@pytest.mark.parametrize("file", FILES)
def test_a_flipped_bit_is_noticed(tree: Tree, cache: Path, decodings: list[int], file: str) -> None:
    path = folder_of(load(tree.config(), cache), cache) / file
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    load(tree.config(), cache)
    assert decodings == [7, 7]
    assert path.read_bytes() == good


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"decoding": 0}', b'{"decoding": 2, "files": {}}'])
def test_a_broken_manifest_is_noticed(tree: Tree, cache: Path, decodings: list[int], content: bytes) -> None:
    (folder_of(load(tree.config(), cache), cache) / "manifest.json").write_bytes(content)
    load(tree.config(), cache)
    assert decodings == [7, 7]


def test_an_array_with_objects_in_it_is_not_unpickled(tree: Tree, cache: Path, decodings: list[int]) -> None:
    folder = folder_of(load(tree.config(), cache), cache)
    np.save(folder / "train_aspect.npy", np.array([{}], object), allow_pickle=True)
    load(tree.config(), cache)
    assert decodings == [7, 7]


def test_the_manifest_says_what_the_arrays_are(tree: Tree, cache: Path) -> None:
    manifest = json.loads((folder_of(load(tree.config(), cache), cache) / "manifest.json").read_text())
    assert set(manifest["files"]) == set(FILES)
    assert manifest["decoding"] == arrays.DECODING


def test_a_broken_image_is_named_and_nothing_is_published(tree: Tree, cache: Path) -> None:
    tree.add("test/dog/1.jpg", encoded(picture(99, 99))[:300])
    with pytest.raises(InvalidInput, match=r"test/dog/1\.jpg: ") as caught:
        load(tree.config(), cache)
    assert "\n" not in str(caught.value)
    assert list((cache / "images").iterdir()) == []


def test_a_file_that_changes_while_images_are_decoded_publishes_nothing(tree: Tree, cache: Path) -> None:
    """The pixels of one content would stand under the digest of another one for good."""

    def changes(line: str) -> None:
        tree.add("train/cat/1.jpg", encoded(picture(seed=99)))

    with pytest.raises(RunFailed, match="an image has changed while they were decoded; run it again"):
        load(tree.config(), cache, changes)
    assert not list((cache / "images").iterdir())
    load(tree.config(), cache)


def test_what_a_killed_process_left_is_in_nobodys_way_and_goes_when_it_is_stale(tree: Tree, cache: Path) -> None:
    first = load(tree.config(), cache)
    left = [cache / "images" / f".{first.digest}-8.{name}" for name in ("fresh", "stale")]
    for folder in left:
        folder.mkdir()
        (folder / "train_pixels.npy").write_bytes(b"half")
    then = time.time() - 7200
    for path in (left[1] / "train_pixels.npy", left[1]):
        os.utime(path, (then, then))
    same(load(tree.config(), cache), first)
    assert [folder.exists() for folder in left] == [True, False]


def test_a_process_that_is_killed_while_decoding_leaves_nothing_that_counts(tree: Tree, cache: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from simclr.config import DataConfig
from simclr.data import arrays, load
decode_all = arrays.decode_all
def dying(paths, side, **options):
    for number, decoded in enumerate(decode_all(paths, side, **options)):
        if number == 2:
            os._exit(9)
        yield decoded
arrays.decode_all = dying
load(DataConfig("folder", sys.argv[1], 8), Path(sys.argv[2]))
"""
    killed = subprocess.run([sys.executable, "-c", program, str(tree.root), str(cache)], check=False)
    assert killed.returncode == 9
    assert load(tree.config(), cache).train.pixels.any((1, 2, 3)).all()


def test_of_two_that_decode_at_once_the_second_uses_what_the_first_published(
    tree: Tree, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2)
    decode_all = arrays.decode_all

    def waiting(paths: list[Path], side: int, **options: Any) -> object:
        together.wait(10)
        return decode_all(paths, side, **options)

    monkeypatch.setattr(arrays, "decode_all", waiting)
    loaded: list[Images] = []
    threads = [threading.Thread(target=lambda: loaded.append(load(tree.config(), cache))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(*loaded)
    assert [path.name for path in (cache / "images").iterdir()] == [f"{loaded[0].digest}-8"]


def test_a_cache_that_cannot_be_written_is_told(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFailed, match="cannot be written") as caught:
        load(tree.config(), tmp_path / "file" / "data")
    assert "\n" not in str(caught.value)


def test_progress_is_reported_in_lines_where_there_is_no_terminal(tree: Tree, cache: Path, lines: list[str]) -> None:
    load(tree.config(), cache, lines.append)
    counts = ["train: 3 cat, 2 dog", "test: 1 cat, 1 dog"]
    assert lines == [*counts, "decoding to 8 pixels: 7 images", "decoding to 8 pixels: 7 images, done"]
    load(tree.config(), cache, lines.append)
    assert len(lines) == 4


def test_progress_is_logged_where_nothing_else_is_asked_for(
    tree: Tree, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        load(tree.config(), cache)
    assert caplog.messages[2] == "decoding to 8 pixels: 7 images"


def test_progress_is_a_bar_on_a_terminal(
    tree: Tree, cache: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    load(tree.config(), cache, lines.append)
    assert lines == ["train: 3 cat, 2 dog", "test: 1 cat, 1 dog"]
    told = capsys.readouterr()
    assert "7/7" in told.err
    assert told.out == ""


def test_test_images_that_are_training_images_too_are_told(tree: Tree, cache: Path, lines: list[str]) -> None:
    assert load(tree.config(), cache).test_also_in_train == 0
    tree.add("test/dog/9.jpg", (tree.root / "train/cat/1.jpg").read_bytes())
    images = load(tree.config(), cache, lines.append)
    assert images.test_also_in_train == 1
    assert "1 of the 3 test images are training images too" in lines[2]
    assert images.counts == {"cat": [3, 1], "dog": [2, 2]}


def test_training_images_that_are_in_two_classes_are_told(tree: Tree, cache: Path, lines: list[str]) -> None:
    tree.add("train/dog/9.jpg", (tree.root / "train/cat/1.jpg").read_bytes())
    load(tree.config(), cache, lines.append)
    assert lines[2].endswith(": 2 training images are in another class as well, to the byte")


def test_the_real_images_are_loaded(real_set: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMCLR_DATA", str(real_set))
    images = load(DataConfig("imagenet5", None, 16), cache)
    assert images.digest == imagenet5.CONTENT
    assert images.classes == imagenet5.CLASSES
    assert images.train.pixels.shape == (1250, 16, 16, 3)
    assert images.test.pixels.shape == (250, 16, 16, 3)
    assert images.train.paths[0].startswith("train/airplane_")
    assert abs(np.median(images.train.aspect) - 4 / 3) < 0.01


def test_the_real_images_in_the_cache_are_taken_from_there(real_set: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    imagenet5.cached(cache).symlink_to(real_set / imagenet5.FOLDER, target_is_directory=True)
    assert load(DataConfig("imagenet5", None, 8), cache).train.pixels.shape == (1250, 8, 8, 3)


def test_importing_the_data_package_imports_neither_tensorflow_nor_scikit_learn() -> None:
    program = "import sys, simclr.data; print({'tensorflow', 'keras', 'sklearn'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
