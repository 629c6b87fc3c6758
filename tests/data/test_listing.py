from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import pytest

from simclr.data import account, listing
from simclr.data.account import passed_over
from simclr.data.content import digest
from simclr.data.listing import list_folder
from simclr.data.parts import Catalogue
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
    for name in ("a.JPG", "b.jpeg", "c.Png", "d.BMP", "e.webp", "f.jfif", "g.JPE", "h.tif", "i.tiff", "j.gif"):
        tree.add(f"train/cat/{name}")
    assert listed(tree).train_counts.tolist() == [13, 2]


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
    for path in (f"train/{composed}/1.jpg", f"test/{apart}/1.jpg", f"train/{apart}/2.jpg", "train/cat/1.jpg"):
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
def test_an_image_without_a_class_is_named(empty_tree: Tree, name: str) -> None:
    for path in (f"train/{name}", "test/cat_1.jpg"):
        empty_tree.add(path)
    assert f"{empty_tree.root / 'train' / name}: no class in its name" in refusal(empty_tree)


def test_images_beside_class_folders_are_no_class(tree: Tree) -> None:
    for number in range(6):
        tree.add(f"train/IMG_{number}.jpg")
    found = "images lie beside the class folders: 6 (IMG_0.jpg, IMG_1.jpg, IMG_2.jpg, ..)"
    assert f"{tree.root / 'train'}: {found}" in refusal(tree)


@pytest.mark.parametrize("name", ["@eaDir", "__MACOSX", "$RECYCLE.BIN", "lost+found"])
def test_folders_that_systems_leave_behind_are_no_class(tree: Tree, name: str) -> None:
    tree.add(f"train/{name}/1.jpg")
    tree.add(f"train/cat/{name}/1.jpg")
    found = listed(tree)
    assert found.classes == ("cat", "dog")
    assert found.train_counts.tolist() == [3, 2]
    assert found.passed_over == {name: 2}


def test_what_is_passed_over_is_told_by_kind(tree: Tree) -> None:
    for name in ("notes.txt", "more.TXT", "README", ".DS_Store", "1.cr2"):
        tree.add(f"train/cat/{name}", b"")
    assert passed_over(listed(tree)) == "2 .txt, 1 .cr2, 1 hidden, 1 no suffix"


def test_an_image_that_could_be_read_says_what_it_needs(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "suffixes", lambda: (".jpg",))
    monkeypatch.setattr(listing, "suffixes", lambda: (".jpg",))
    tree.add("train/cat/1.heic", b"")
    assert passed_over(listed(tree)) == "1 .heic (pip install 'simclr[heic]' reads .heic)"


@pytest.mark.parametrize("place", ["train", "train/cat"])
def test_a_folder_that_is_a_broken_link_is_named(tree: Tree, place: str) -> None:
    link = tree.root / place / "bird"
    link.symlink_to("nowhere")
    assert refusal(tree) == f"{link}: a link that leads nowhere"


def breeds(tree: Tree) -> Tree:
    for name in ("american_bulldog_1.jpg", "american_pit_bull_1.jpg", "american_pit_bull_12.jpg", "pug_3.jpg"):
        tree.add(f"train/{name}")
        tree.add(f"test/{name}")
    return tree


def test_a_name_with_two_classes_in_it_is_nobodys_guess(empty_tree: Tree) -> None:
    told = refusal(breeds(empty_tree))
    assert "american_bulldog_1.jpg and american_pit_bull_1.jpg are both 'american' by" in told
    assert "'american_bulldog' and 'american_pit_bull' by" in told
    assert "data.class_pattern=first_underscore or data.class_pattern=number says which" in told


def test_nor_where_each_part_has_one_of_them(empty_tree: Tree) -> None:
    for path in ("train/american_bulldog_1.jpg", "train/pug_1.jpg", "test/american_pit_bull_1.jpg"):
        empty_tree.add(path)
    assert "american_bulldog_1.jpg and american_pit_bull_1.jpg are both 'american'" in refusal(empty_tree)


@pytest.mark.parametrize(
    ("pattern", "classes"),
    [
        ("first_underscore", ("american", "pug")),
        ("number", ("american_bulldog", "american_pit_bull", "pug")),
        (r".*?([a-z]+)_\d+", ("bull", "bulldog", "pug")),
    ],
)
def test_a_pattern_says_which(empty_tree: Tree, pattern: str, classes: tuple[str, ...]) -> None:
    found = list_folder("folder", breeds(empty_tree).root, pattern)
    assert found.classes == classes


@pytest.mark.parametrize(("pattern", "why"), [("(", "unterminated"), ("a", "with a group"), (r"(\d+)", "no class in")])
def test_a_pattern_that_finds_no_class_is_named(empty_tree: Tree, pattern: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        list_folder("folder", breeds(empty_tree).root, pattern)
    assert f"data.class_pattern={pattern}" in str(caught.value)


def test_other_classes_are_other_data(empty_tree: Tree, tmp_path: Path) -> None:
    root = breeds(empty_tree).root
    found = {digest(list_folder("folder", root, pattern), tmp_path) for pattern in ("first_underscore", "number")}
    assert len(found) == 2


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_another_name_of_the_test_part_is_taken_where_there_is_no_test(tree: Tree, name: str) -> None:
    (tree.root / "test").rename(tree.root / name)
    found = listed(tree)
    assert found.test.paths == (f"{name}/cat/1.jpg", f"{name}/dog/1.jpg")


def test_test_goes_before_validation_and_two_others_are_nobodys_guess(tree: Tree) -> None:
    for name in ("val", "valid"):
        shutil.copytree(tree.root / "test", tree.root / name)
    assert listed(tree).test.paths[0] == "test/cat/1.jpg"
    shutil.rmtree(tree.root / "test")
    assert "val/ and valid/, but no test/" in refusal(tree)


@pytest.fixture
def classes_alone(empty_tree: Tree) -> Tree:
    for number in range(10):
        for name in ("cat", "dog"):
            empty_tree.add(f"{name}/{number}.jpg")
    empty_tree.add("owl/1.jpg")
    return empty_tree


def test_of_classes_without_parts_a_share_is_drawn_the_same_everywhere(classes_alone: Tree, tmp_path: Path) -> None:
    found = list_folder("folder", classes_alone.root, test_share=0.2)
    assert (found.train_counts.tolist(), found.test_counts.tolist()) == ([8, 8, 1], [2, 2, 0])
    assert not set(found.train.paths) & set(found.test.paths)
    assert found.test.paths == ("cat/0.jpg", "cat/2.jpg", "dog/3.jpg", "dog/7.jpg")
    other = list_folder("folder", classes_alone.root, test_share=0.3)
    assert digest(found, tmp_path) != digest(other, tmp_path)


def test_without_a_share_nothing_tells_their_classes(classes_alone: Tree) -> None:
    found = listed(classes_alone)
    assert found.classes == ()
    assert len(found.unlabeled) > 0


def test_of_training_images_alone_a_share_is_drawn(tree: Tree) -> None:
    shutil.rmtree(tree.root / "test")
    assert list_folder("folder", tree.root, test_share=0.4).test_counts.tolist() == [1, 1]


def test_a_share_of_what_has_a_test_part_is_refused(tree: Tree) -> None:
    with pytest.raises(InvalidInput, match=r"data\.test_share=0\.2: .* has a test part of its own, test/"):
        list_folder("folder", tree.root, test_share=0.2)


def test_one_folder_in_the_root_is_what_is_meant(tree: Tree) -> None:
    inner = tree.root.parent / "archive"
    inner.mkdir()
    tree.root.rename(inner / "flowers")
    found = list_folder("folder", inner)
    assert found.root == inner / "flowers"
    assert found.train_counts.tolist() == [3, 2]
