from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simclr.config import DataConfig
from simclr.data import catalogue, imagenet5
from simclr.foundation.errors import InvalidInput

from .samples import Tree

IMAGENET5 = DataConfig("imagenet5", None, 8)


def put_imagenet5(folder: Path) -> Path:
    """Files with the names and numbers of the real ones, which is all that listing sees."""
    for split, count in (("train", 250), ("test", 50)):
        (folder / split).mkdir(parents=True)
        for label in imagenet5.CLASSES:
            for number in range(count):
                (folder / split / f"{label}_{number}_a1.jpg").touch()
    return folder


def test_the_digits_have_ten_classes_and_no_paths(cache: Path) -> None:
    found = catalogue(DataConfig("digits", None, 16), cache)
    assert found.classes == tuple("0123456789")
    assert (len(found.train), len(found.test)) == (1347, 450)
    assert (found.paths, found.root) == ((), None)


def test_imagenet5_that_is_nowhere_is_known_and_needs_a_download(cache: Path) -> None:
    found = catalogue(IMAGENET5, cache)
    assert found.needs_download
    assert found.classes == ("airplane", "car", "cat", "dog", "elephant")
    assert found.train_counts.tolist() == [250] * 5
    assert found.test_counts.tolist() == [50] * 5
    assert found.train.labels.dtype == np.int32
    assert not cache.exists()


def test_imagenet5_is_looked_for_in_simclr_data_then_root_then_the_cache(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloaded = put_imagenet5(imagenet5.cached(cache))
    assert catalogue(IMAGENET5, cache).root == downloaded
    root = put_imagenet5(tmp_path / "root")
    given = DataConfig("imagenet5", str(root), 8)
    assert catalogue(given, cache).root == root
    shared = put_imagenet5(tmp_path / "shared" / imagenet5.FOLDER)
    monkeypatch.setenv("SIMCLR_DATA", str(tmp_path / "shared"))
    assert catalogue(given, cache).root == shared


def test_a_simclr_data_without_the_images_is_passed_by(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMCLR_DATA", str(tmp_path))
    assert catalogue(IMAGENET5, cache).needs_download


def test_a_downloaded_copy_with_files_missing_needs_a_download_again(cache: Path) -> None:
    downloaded = put_imagenet5(imagenet5.cached(cache))
    (downloaded / "train" / "cat_7_a1.jpg").unlink()
    found = catalogue(IMAGENET5, cache)
    assert found.needs_download
    assert found.train_counts.tolist() == [250] * 5
    shutil.rmtree(downloaded / "test")
    assert catalogue(IMAGENET5, cache).needs_download


@pytest.mark.parametrize("name", ["folder", "imagenet5"])
def test_a_data_root_that_is_missing_is_named(name: str, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"data\.root=.*/nowhere: no such folder") as caught:
        catalogue(DataConfig(name, str(tmp_path / "nowhere"), 8), cache)
    assert "\n" not in str(caught.value)


def test_folder_without_data_root_says_what_to_give(cache: Path) -> None:
    with pytest.raises(InvalidInput, match=r"data\.root=DIR"):
        catalogue(DataConfig("folder", None, 8), cache)


def test_a_home_folder_may_be_written_with_a_tilde(tree: Tree, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree.root.parent))
    assert catalogue(DataConfig("folder", f"~/{tree.root.name}", 8), cache).root == tree.root


def test_listing_writes_nothing(tree: Tree, cache: Path) -> None:
    catalogue(tree.config(), cache)
    assert not cache.exists()


@pytest.mark.parametrize("name", ["digits", "owner/name"])
def test_a_place_is_refused_where_nothing_is_read_from_it(cache: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"data.root=elsewhere: says nothing of data={name}; it is for folder"):
        catalogue(DataConfig(name, "elsewhere", 8), cache)


@pytest.mark.parametrize("name", ["digits", "imagenet5"])
@pytest.mark.parametrize(("key", "value"), [("labels", "labels.csv"), ("test_share", 0.2), ("class_pattern", "number")])
def test_what_tells_of_folders_is_refused_elsewhere(cache: Path, name: str, key: str, value: object) -> None:
    config = replace(DataConfig(name=name, image_size=8), **{key: value})
    with pytest.raises(InvalidInput, match=rf"data\.{key}={value}: says nothing of data={name}"):
        catalogue(config, cache)
