"""Images without a label: where they lie, how many of them are seen, and what that changes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simclr.data import Images, catalogue, digest, load
from simclr.data.account import account
from simclr.data.content import content
from simclr.data.listing import list_folder
from simclr.foundation.errors import InvalidInput
from tests.data.samples import Tree, encoded, picture


@pytest.fixture
def more(tree: Tree) -> Tree:
    """Beside cats and dogs ten images that nobody has named, at several depths."""
    for number in range(10):
        tree.add(f"unlabeled/{'old/' * (number % 3)}{number}.jpg", encoded(picture(seed=50 + number)))
    return tree


@pytest.fixture
def alone(empty_tree: Tree) -> Tree:
    for path in ("IMG_1.jpg", "IMG_2.jpg", "holidays/2019/a.jpg", "holidays/b.jpg"):
        empty_tree.add(path)
    return empty_tree


def test_they_lie_beside_the_parts_at_any_depth_and_have_no_class(more: Tree) -> None:
    found = list_folder("folder", more.root)
    assert found.classes == ("cat", "dog")
    assert len(found.unlabeled) == 10
    assert set(found.unlabeled.labels) == {-1}
    assert {"unlabeled/0.jpg", "unlabeled/old/old/2.jpg"} <= set(found.unlabeled.paths)
    assert "unlabeled: 10 images" in account(found)


def test_beside_classes_of_which_a_test_part_is_drawn_they_are_no_class(more: Tree) -> None:
    for part in ("train", "test"):
        for folder in (more.root / part).iterdir():
            shutil.copytree(folder, more.root / folder.name, dirs_exist_ok=True)
        shutil.rmtree(more.root / part)
    found = list_folder("folder", more.root, test_share=0.4)
    assert found.classes == ("cat", "dog")
    assert len(found.unlabeled) == 10


def test_beside_a_table_they_are_those_that_it_does_not_name(more: Tree, cache: Path) -> None:
    table = "path,label,split\ntrain/cat/1.jpg,cat,train\nunlabeled/0.jpg,dog,train\ntest/cat/1.jpg,cat,test\n"
    more.add("labels.csv", table.encode())
    found = catalogue(replace(more.config(), labels="labels.csv"), cache)
    assert len(found.unlabeled) == 9
    assert "unlabeled/0.jpg" in found.train.paths


def test_a_folder_of_images_and_nothing_else_has_no_classes(alone: Tree, cache: Path) -> None:
    images = load(alone.config(), cache)
    assert images.classes == ()
    assert (len(images.train), len(images.test), len(images.pretraining)) == (0, 0, 4)
    assert images.pretraining.paths == ("IMG_1.jpg", "IMG_2.jpg", "holidays/2019/a.jpg", "holidays/b.jpg")
    assert images.counts == {}


def test_an_empty_folder_for_them_is_told(tree: Tree) -> None:
    (tree.root / "unlabeled").mkdir()
    with pytest.raises(InvalidInput, match="unlabeled: no images in it"):
        list_folder("folder", tree.root)


@pytest.mark.parametrize("cache_gib", [1.0, 0.0], ids=["kept", "streamed"])
def test_pretraining_sees_the_training_images_and_then_these(more: Tree, cache: Path, cache_gib: float) -> None:
    images = load(replace(more.config(), cache_gib=cache_gib), cache)
    seen = images.pretraining
    assert seen.paths == images.train.paths + images.unlabeled.paths
    assert seen.labels.tolist() == [*images.train.labels, *[-1] * 10]
    for part, places in ((images.train, np.arange(5)), (images.unlabeled, np.arange(5, 15))):
        for found, expected in zip(seen.at(places), part.at(np.arange(len(part))), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_without_any_pretraining_sees_the_very_training_images(tree: Tree, cache: Path) -> None:
    images = load(tree.config(), cache)
    assert images.pretraining is images.train


def drawn(tree: Tree, cache: Path, share: float) -> set[str]:
    return set(catalogue(replace(tree.config(), unlabeled=share), cache).unlabeled.paths)


def test_a_share_of_them_is_drawn_once_and_a_smaller_one_is_part_of_it(more: Tree, cache: Path) -> None:
    shares = [drawn(more, cache, share) for share in (0.0, 0.3, 0.6, 1.0)]
    assert [len(each) for each in shares] == [0, 3, 6, 10]
    assert shares[1] < shares[2] < shares[3]


def test_they_decide_what_a_network_has_seen_and_not_what_is_asked(more: Tree, cache: Path) -> None:
    contents = [
        content(catalogue(replace(more.config(), unlabeled=share), cache), cache) for share in (0.0, 0.3, 0.6, 1.0)
    ]
    assert len({each.whole for each in contents}) == 4
    assert len({each.labelled for each in contents}) == 1
    shutil.rmtree(more.root / "unlabeled")
    assert digest(catalogue(more.config(), cache), cache) == contents[0].whole


def test_one_that_changes_makes_other_content(more: Tree, cache: Path) -> None:
    before = digest(catalogue(more.config(), cache), cache)
    more.add("unlabeled/0.jpg", encoded(picture(seed=99)))
    assert digest(catalogue(more.config(), cache), cache) != before


def test_labelled_images_are_decoded_once_for_any_share(more: Tree, cache: Path) -> None:
    load(replace(more.config(), unlabeled=0.3), cache)
    labelled = load(replace(more.config(), unlabeled=0.0), cache).digest
    folders = {folder.name: folder.stat().st_mtime_ns for folder in (cache / "images").iterdir()}
    load(replace(more.config(), unlabeled=0.6), cache)
    after = {folder.name: folder.stat().st_mtime_ns for folder in (cache / "images").iterdir()}
    assert after[f"{labelled}-8"] == folders[f"{labelled}-8"]
    assert len(after) == len(folders) + 1 == 3


def test_a_share_of_none_is_told(tree: Tree, cache: Path) -> None:
    with pytest.raises(InvalidInput, match=r"data\.unlabeled=0\.5: data=folder has no images without labels"):
        catalogue(replace(tree.config(), unlabeled=0.5), cache)
    assert not catalogue(replace(tree.config(), unlabeled=0.0), cache).unlabeled


def test_validation_images_are_taken_from_those_with_labels(more: Tree, cache: Path) -> None:
    images = load(replace(more.config(), validation=0.4), cache)
    assert (len(images.train), len(images.test), len(images.unlabeled)) == (3, 2, 10)


def test_a_share_of_each_class_says_nothing_where_there_is_none(alone: Tree, cache: Path) -> None:
    with pytest.raises(InvalidInput, match=r"data\.validation=0\.2: .* has images without labels alone"):
        catalogue(replace(alone.config(), validation=0.2), cache)


def test_a_test_image_that_is_among_them_has_been_seen_in_training(more: Tree, cache: Path) -> None:
    more.add("unlabeled/again.jpg", (more.root / "test/cat/1.jpg").read_bytes())
    lines: list[str] = []
    assert load(more.config(), cache, lines.append).test_also_in_train == 1
    assert any("1 of the 2 test images are training images too" in line for line in lines)


def test_one_that_cannot_be_decoded_is_named(more: Tree, cache: Path) -> None:
    broken = more.add("unlabeled/broken.jpg", b"no image")
    another = more.add("train/cat/broken.jpg", b"no image either")
    with pytest.raises(InvalidInput, match=f"{another}.*; {broken}"):
        load(more.config(), cache)


def test_what_they_are_described_on_is_some_of_them(alone: Tree, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simclr.data.images.SOME", 3)
    images: Images = load(alone.config(), cache)
    first, second = images.described
    assert first is second
    assert len(first) == 3
    assert set(first.paths) < set(images.unlabeled.paths)
