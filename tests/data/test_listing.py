from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import pytest

from simclr.data.listing import Catalogue, list_folder
from simclr.foundation.errors import InvalidInput

from .samples import Tree


def listed(tree: Tree) -> Catalogue:
    return list_folder("folder", tree.root)


def refusal(tree: Tree) -> str:
    with pytest.raises(InvalidInput) as caught:
        listed(tree)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_class_folders_give_classes_labels_and_paths_in_byte_order(tree: Tree) -> None:
    found = listed(tree)
    assert found.classes == ("cat", "dog")
    assert found.train.paths == (
        "train/cat/1.jpg",
        "train/cat/2.jpg",
        "train/cat/3.jpg",
        "train/dog/1.jpg",
        "train/dog/2.jpg",
    )
    assert found.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert found.train.labels.dtype == "int32"
    assert found.test.labels.tolist() == [0, 1]
    assert found.train_counts.tolist() == [3, 2]
    assert found.test_counts.tolist() == [1, 1]
    assert (found.root, found.ignored, found.needs_download) == (tree.root, 0, False)


def test_the_class_of_a_file_name_ends_at_its_first_underscore(empty_tree: Tree) -> None:
    for path in ("train/cat_1.jpg", "train/airplane_1038817887_adf7a57848.jpg", "test/cat_2.jpg"):
        empty_tree.add(path)
    found = listed(empty_tree)
    assert found.classes == ("airplane", "cat")
    assert found.train.labels.tolist() == [0, 1]


def test_images_in_nested_folders_belong_to_the_class_folder(tree: Tree) -> None:
    tree.add("train/cat/2019/may/9.jpg")
    found = listed(tree)
    assert "train/cat/2019/may/9.jpg" in found.train.paths
    assert found.train_counts.tolist() == [4, 2]


def test_every_suffix_counts_in_any_case(tree: Tree) -> None:
    for name in ("a.JPG", "b.jpeg", "c.Png", "d.BMP", "e.webp"):
        tree.add(f"train/cat/{name}")
    assert listed(tree).train_counts.tolist() == [8, 2]


def test_foreign_and_hidden_files_are_passed_over_and_counted(tree: Tree) -> None:
    for path in ("train/.DS_Store", "train/cat/Thumbs.db", "train/cat/._1.jpg", "test/notes.txt", "train/.git/1.jpg"):
        tree.add(path, b"")
    found = listed(tree)
    assert found.ignored == 5
    assert found.train_counts.tolist() == [3, 2]


def test_class_names_may_have_spaces_and_accents(empty_tree: Tree) -> None:
    for path in ("train/great crested newt/1.jpg", "train/éléphant/1.jpg", "test/éléphant/2.jpg"):
        empty_tree.add(path)
    assert listed(empty_tree).classes == ("great crested newt", "éléphant")


def test_one_accent_stored_in_two_ways_is_one_class(empty_tree: Tree) -> None:
    composed, apart = (unicodedata.normalize(form, "éléphant") for form in ("NFC", "NFD"))
    assert composed != apart
    for path in (f"train/{composed}/1.jpg", f"test/{apart}/1.jpg", f"train/{apart}_2.jpg", "train/cat/1.jpg"):
        empty_tree.add(path)
    found = listed(empty_tree)
    assert found.classes == ("cat", composed)
    assert found.train_counts.tolist() == [1, 2]
    assert all((empty_tree.root / path).is_file() for path in found.paths)


def test_a_training_class_may_be_absent_from_the_test(tree: Tree) -> None:
    shutil.rmtree(tree.root / "test" / "dog")
    assert listed(tree).test_counts.tolist() == [1, 0]


def test_a_linked_class_folder_is_followed_and_a_link_upwards_ends(tree: Tree, tmp_path: Path) -> None:
    (tree.root / "train" / "dog").rename(tmp_path / "dogs")
    (tree.root / "train" / "dog").symlink_to(tmp_path / "dogs", target_is_directory=True)
    (tmp_path / "dogs" / "again").symlink_to(tmp_path / "dogs", target_is_directory=True)
    found = listed(tree)
    assert found.train_counts.tolist() == [3, 2]
    assert found.ignored == 1


def test_a_missing_root_is_named(empty_tree: Tree) -> None:
    assert f"{empty_tree.root}: no such folder" in refusal(empty_tree)


def test_a_root_that_is_a_file_is_named(empty_tree: Tree) -> None:
    empty_tree.root.write_text("")
    assert "not a folder" in refusal(empty_tree)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_split_is_named(tree: Tree, split: str) -> None:
    shutil.rmtree(tree.root / split)
    assert f"{tree.root}: no {split}/ folder" in refusal(tree)


def test_a_split_without_images_is_named(tree: Tree) -> None:
    shutil.rmtree(tree.root / "test")
    tree.add("test/readme.txt", b"")
    assert f"{tree.root / 'test'}: no images" in refusal(tree)


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_class_folder_is_named(tree: Tree, split: str) -> None:
    tree.add(f"{split}/bird/.DS_Store", b"")
    assert f"{tree.root / split / 'bird'}: no images in this class folder" in refusal(tree)


def test_one_class_only_is_named(empty_tree: Tree) -> None:
    for path in ("train/cat/1.jpg", "test/cat/1.jpg"):
        empty_tree.add(path)
    assert "one class only, 'cat'" in refusal(empty_tree)


def test_a_test_class_that_training_lacks_is_named_with_the_nearest_one(tree: Tree) -> None:
    tree.add("test/cats/1.jpg")
    told = refusal(tree)
    assert "test/ has the class 'cats', which train/ has not" in told
    assert 'Did you mean "cat"?' in told


@pytest.mark.parametrize("name", ["picture.jpg", "_1.jpg"])
def test_an_image_without_a_class_is_named(tree: Tree, name: str) -> None:
    tree.add(f"train/{name}")
    assert f"{tree.root / 'train' / name}: no class in its name" in refusal(tree)
