"""``python -m simclr.data``: what it says of a folder with something of everything in it, and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from simclr.command.data import main
from tests.data.samples import Tree, encoded, picture


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "pictures")
    for path in ("train/cat/1.jpg", "train/cat/2.jpg", "train/dog/1.jpg", "train/owl/1.jpg", "test/cat/1.jpg"):
        tree.add(path)
    return tree


def look(tree: Tree, root: Path) -> int:
    return main(["data=folder", f"data.root={tree.root}", f"root={root}"])


def test_it_says_what_there_is_and_shows_it(tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree.add("train/dog/2.png", encoded(picture(30, 40, mode="L"), "PNG"))
    tree.add("test/dog/9.jpg", (tree.root / "train/cat/1.jpg").read_bytes())
    tree.add("train/dog/notes.txt", b"")
    assert look(tree, tmp_path / "runs") == 0
    told = capsys.readouterr().out
    assert "no test images of owl: accuracy says nothing of them" in told
    assert "passed over, as they are no images: 1 .txt" in told
    assert "width 12 to 30, half of them up to 12; height 9 to 40, half of them up to 9" in told
    assert "kinds: 6 JPEG RGB, 1 PNG L" in told
    assert "the same file twice: 1, of several classes or parts: 1" in told
    assert "test/dog/9.jpg = train/cat/1.jpg" in told
    assert "cannot be used: 0" in told
    with Image.open(told.split("pictures ")[-1].strip()) as sheet:
        assert sheet.width > sheet.height > 3 * 96


def test_files_that_cannot_be_used_are_named_and_are_its_exit_code(
    tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(25):
        tree.add(f"train/dog/broken-{number:02}.jpg", b"no picture")
    assert look(tree, tmp_path / "runs") == 1
    told = capsys.readouterr().out
    assert "cannot be used: 25" in told
    assert told.count("not an image that can be read") == 20


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data=folder", f"data.root={tmp_path / 'nowhere'}"]) == 2
    assert capsys.readouterr().err.startswith("error: data.root=")


def test_images_that_are_no_files_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "1,347  450" in capsys.readouterr().out
