"""Classes from a CSV file: what it may hold, and what is said of a line that is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from simclr.data import load
from simclr.data.content import digest
from simclr.data.table import list_table
from simclr.foundation.errors import InvalidInput

from .samples import Tree

LINES = "path,label,split\na/1.jpg,cat,train\na/2.jpg,dog,train\nb/3.jpg,cat,test\nb/4.jpg, dog ,VAL\n"


@pytest.fixture
def loose(empty_tree: Tree) -> Tree:
    for path in ("a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg", "b/5.jpg"):
        empty_tree.add(path)
    empty_tree.add("labels.csv", LINES.encode())
    return empty_tree


def refusal(tree: Tree, lines: str, share: float | None = None) -> str:
    tree.add("labels.csv", lines.encode())
    with pytest.raises(InvalidInput) as caught:
        list_table(tree.root, Path("labels.csv"), share)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_table_tells_classes_and_parts_and_other_images_are_none_of_it(loose: Tree, cache: Path) -> None:
    images = load(replace(loose.config(), labels="labels.csv"), cache)
    assert images.classes == ("cat", "dog")
    assert images.train.paths == ("a/1.jpg", "a/2.jpg")
    assert images.test.paths == ("b/3.jpg", "b/4.jpg")
    assert images.test.labels.tolist() == [0, 1]


def test_another_label_is_another_set(loose: Tree, cache: Path) -> None:
    before = digest(list_table(loose.root, Path("labels.csv")), cache)
    loose.add("labels.csv", LINES.replace("b/3.jpg,cat", "b/3.jpg,dog").encode())
    assert digest(list_table(loose.root, Path("labels.csv")), cache) != before


def test_without_a_split_a_share_is_drawn(loose: Tree) -> None:
    lines = "\ufefflabel,path,camera\n" + "".join(f"{'cat' if i % 2 else 'dog'},x/{i}.jpg,c\n" for i in range(20))
    loose.add("labels.csv", lines.encode())
    found = list_table(loose.root, Path("labels.csv"), 0.3)
    assert (found.train_counts.tolist(), found.test_counts.tolist()) == ([7, 7], [3, 3])


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("file,label,split\n", "no column path in its first line"),
        ("path,label,split\n", "no line but the first"),
        (LINES + "a/1.jpg,cat,train\n", "line 6: 'a/1.jpg' is there twice"),
        (LINES + ",cat,train\n", "line 6: no path"),
        (LINES + "b/5.jpg,,train\n", "line 6: no label for 'b/5.jpg'"),
        (LINES + "b/5.jpg\n", "line 6: no label for 'b/5.jpg'"),
        (LINES + "b/5.jpg,cat,all\n", "line 6: the split 'all' of 'b/5.jpg' is none"),
        (LINES + "../5.jpg,cat,train\n", "line 6: the path '../5.jpg' leads out of the folder"),
        (LINES + "b/5.jpg,owl,test\n", "the class 'owl' has test images and no training images"),
        ("path,label\na/1.jpg,cat\n", "has no column split"),
        ("path,label,split\na/1.jpg,cat,train\na/2.jpg,cat,test\n", "training images of 1 classes"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(loose: Tree, lines: str, why: str) -> None:
    assert why in refusal(loose, lines)


def test_a_split_and_a_share_are_one_too_many(loose: Tree) -> None:
    assert "has a column split" in refusal(loose, LINES, 0.2)


def test_a_table_that_cannot_be_read_is_named(loose: Tree) -> None:
    (loose.root / "labels.csv").write_bytes(b"path,label,split\n\xff\xfe,cat,train\n")
    with pytest.raises(InvalidInput, match=r"labels\.csv: cannot be read"):
        list_table(loose.root, Path("labels.csv"))
    with pytest.raises(InvalidInput, match="No such file"):
        list_table(loose.root, Path("nowhere.csv"))


def test_an_image_of_the_table_that_is_not_there_is_named(loose: Tree, cache: Path) -> None:
    loose.add("labels.csv", (LINES + "b/9.jpg,cat,train\n").encode())
    with pytest.raises(InvalidInput, match=r"b/9\.jpg: cannot be read: No such file"):
        load(replace(loose.config(), labels="labels.csv"), cache)
