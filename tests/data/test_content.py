from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from simclr.config import DataConfig
from simclr.data import catalogue, content, digest, imagenet5
from simclr.foundation.errors import InvalidInput

from .samples import Tree


def digest_of(tree: Tree, cache: Path) -> str:
    return digest(catalogue(tree.config(), cache), cache)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are old enough to be remembered as soon as they are written: no time that a test can set says otherwise."""
    monkeypatch.setattr(content, "SETTLED_NS", -1_000_000_000)


def index_file(cache: Path) -> Path:
    (index,) = (cache / "hashes").iterdir()
    return index


def stored(cache: Path) -> dict[str, np.ndarray]:
    with np.load(index_file(cache), allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read to be hashed, as they are."""
    read: list[Path] = []
    hashes = content._hashes

    def noted(root: Path, paths: Sequence[str]) -> np.ndarray:
        read.extend(root / path for path in paths)
        return hashes(root, paths)

    monkeypatch.setattr(content, "_hashes", noted)
    return read


def test_the_digest_is_that_of_the_lines_sha256sum_prints(tree: Tree, cache: Path) -> None:
    files = sorted(path.relative_to(tree.root).as_posix() for path in tree.root.rglob("*.jpg"))
    lines = "".join(f"{hashlib.sha256((tree.root / path).read_bytes()).hexdigest()}  {path}\n" for path in files)
    assert digest_of(tree, cache) == hashlib.sha256(lines.encode()).hexdigest()


def test_the_digest_does_not_depend_on_where_the_images_lie(tree: Tree, tmp_path: Path, cache: Path) -> None:
    moved = Tree(tmp_path / "elsewhere")
    shutil.copytree(tree.root, moved.root)
    assert digest_of(moved, cache) == digest_of(tree, cache)


def test_the_digest_changes_with_content_and_names_and_not_with_foreign_files(tree: Tree, cache: Path) -> None:
    before = digest_of(tree, cache)
    tree.add("train/cat/.DS_Store", b"x")
    assert digest_of(tree, cache) == before
    (tree.root / "train/cat/3.jpg").rename(tree.root / "train/cat/4.jpg")
    renamed = digest_of(tree, cache)
    tree.add("train/cat/4.jpg")
    assert len({before, renamed, digest_of(tree, cache)}) == 3


@pytest.mark.usefixtures("settled")
def test_hashes_are_remembered(tree: Tree, cache: Path, hashed: list[Path]) -> None:
    before = digest_of(tree, cache)
    assert len(hashed) == 7
    assert digest_of(tree, cache) == before
    assert len(hashed) == 7


@pytest.mark.usefixtures("settled")
def test_only_a_changed_file_is_hashed_again(tree: Tree, cache: Path, hashed: list[Path]) -> None:
    before = digest_of(tree, cache)
    hashed.clear()
    changed = tree.add("train/cat/2.jpg")
    assert digest_of(tree, cache) != before
    assert hashed == [changed]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("by", ["another file", "writing it anew", "another link"])
def test_a_file_replaced_by_one_of_the_same_size_and_time_is_hashed_again(tree: Tree, cache: Path, by: str) -> None:
    image, other = tree.root / "train/cat/1.jpg", tree.root.parent / "other.jpg"
    if by == "another link":
        shutil.copy2(image, tree.root.parent / "one.jpg")
        image.unlink()
        image.symlink_to("../../../one.jpg")
    before, status = digest_of(tree, cache), image.stat()
    content = b"x" * status.st_size
    if by == "writing it anew":
        time.sleep(0.02)  # the clock of a file system ticks
        image.write_bytes(content)
        other = image
    else:
        other.write_bytes(content)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    if by == "another file":
        other.rename(image)
    elif by == "another link":
        image.unlink()
        image.symlink_to("../../../other.jpg")
    assert (image.stat().st_size, image.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert digest_of(tree, cache) != before


def test_a_file_written_a_moment_ago_is_not_remembered_yet(tree: Tree, cache: Path) -> None:
    image = tree.root / "train/cat/1.jpg"
    before = digest_of(tree, cache)
    status = image.stat()
    image.write_bytes(b"x" * status.st_size)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest_of(tree, cache) != before


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"schema": 1}', b"\xff\xfe", b"[" * 100_000])
@pytest.mark.usefixtures("settled")
def test_a_broken_index_is_ignored_and_written_again(tree: Tree, cache: Path, broken: bytes) -> None:
    before, good = digest_of(tree, cache), stored(cache)
    index_file(cache).write_bytes(broken)
    assert digest_of(tree, cache) == before
    assert {name: array.tolist() for name, array in stored(cache).items()} == {
        name: array.tolist() for name, array in good.items()
    }


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("name", ["paths", "statuses", "hashes", "root", "schema"])
def test_an_index_with_a_broken_part_is_ignored(tree: Tree, cache: Path, name: str) -> None:
    before, good = digest_of(tree, cache), stored(cache)
    for other in (good[name][1:], good[name].astype(np.float32)) if good[name].ndim else (np.array(1),):
        np.savez(index_file(cache), **{**good, name: other})
        assert digest_of(tree, cache) == before


def test_a_cache_that_cannot_be_written_still_gives_the_digest(tree: Tree, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert digest_of(tree, tmp_path / "file" / "data") == digest_of(tree, cache)


def test_a_file_that_cannot_be_read_is_named(tree: Tree, cache: Path) -> None:
    broken = tree.root / "train/cat/0.jpg"
    broken.symlink_to(tree.root / "nowhere.jpg")
    with pytest.raises(InvalidInput, match=r"train/cat/0\.jpg: cannot be read: No such file"):
        digest_of(tree, cache)


@pytest.mark.usefixtures("settled")
def test_a_name_whose_bytes_are_no_text_is_hashed_and_remembered(tree: Tree, cache: Path, hashed: list[Path]) -> None:
    try:
        (tree.root / "train/cat" / os.fsdecode(b"\xff.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes text only")
    assert digest_of(tree, cache) == digest_of(tree, cache)
    assert len(hashed) == 8


def test_a_copy_of_imagenet5_that_is_another_set_is_refused(tree: Tree, cache: Path) -> None:
    other = catalogue(DataConfig("imagenet5", str(tree.root), 8), cache)
    with pytest.raises(InvalidInput) as caught:
        digest(other, cache)
    told = str(caught.value)
    assert str(tree.root) in told
    assert imagenet5.CONTENT[:12] in told
    assert digest_of(tree, cache)[:12] in told
    assert "\n" not in told


def test_imagenet5_has_its_digest_before_it_is_downloaded(cache: Path) -> None:
    assert digest(catalogue(DataConfig("imagenet5", None, 8), cache), cache) == imagenet5.CONTENT
    assert not cache.exists()


def test_the_published_images_have_the_published_digest(
    real_set: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMCLR_DATA", str(real_set))
    found = catalogue(DataConfig("imagenet5", None, 8), cache)
    assert found.root == real_set / imagenet5.FOLDER
    assert content.file_digest(found, cache) == imagenet5.CONTENT
    assert digest(found, cache) == imagenet5.CONTENT


def test_the_digits_have_a_digest_of_their_own(cache: Path) -> None:
    assert len(digest(catalogue(DataConfig("digits", None, 8), cache), cache)) == 64
