from __future__ import annotations

import gzip
import hashlib
import tarfile
from pathlib import Path

import pytest

from simclr.data import archive
from simclr.foundation.errors import RunFailed

from .samples import packed

GOOD = {"top/train/cat_1.jpg": b"one", "top/test/cat_2.jpg": b"two"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def extracted(content: bytes, folder: Path) -> dict[str, str]:
    file = folder.parent / "archive.tar.gz"
    file.write_bytes(content)
    return archive.extract(file, folder)


def refusal(content: bytes, folder: Path) -> str:
    with pytest.raises(RunFailed) as caught:
        extracted(content, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def linked(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_the_images_come_out_without_the_top_folder(folder: Path) -> None:
    hashes = extracted(packed(GOOD), folder)
    assert hashes["train/cat_1.jpg"] == hashlib.sha256(b"one").hexdigest()
    assert (folder / "train/cat_1.jpg").read_bytes() == b"one"
    assert (folder / "test/cat_2.jpg").read_bytes() == b"two"


def test_nothing_but_the_images_comes_out(folder: Path) -> None:
    more = {"top/README.md": b"", "top/train/x.py": b"", "top/other/cat_1.jpg": b"", "top/train/deep/cat_1.jpg": b""}
    assert set(extracted(packed(GOOD | more, linked("top/", tarfile.DIRTYPE)), folder)) == {
        "train/cat_1.jpg",
        "test/cat_2.jpg",
    }
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 2


@pytest.mark.parametrize(
    "name", ["../evil.jpg", "top/train/../../../evil.jpg", "/train/evil.jpg", "top\\..\\..\\evil.jpg", "top/train/.."]
)
def test_a_member_that_leads_out_of_the_folder_is_refused(folder: Path, name: str) -> None:
    assert "leads out of the folder" in refusal(packed({name: b"x"}), folder)
    assert not list(folder.parent.rglob("evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_is_refused(folder: Path, kind: bytes) -> None:
    assert "is a link" in refusal(packed(GOOD, linked("top/train/evil.jpg", kind, "/etc/hostname")), folder)
    assert not (folder / "train/evil.jpg").exists()


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_is_refused(folder: Path, kind: bytes) -> None:
    assert "is a device" in refusal(packed({}, linked("top/train/evil.jpg", kind)), folder)


def test_a_member_that_comes_twice_is_refused(folder: Path) -> None:
    twice = packed({"top/train/cat_1.jpg": b"one", "other/train/cat_1.jpg": b"two"})
    assert "is in it twice" in refusal(twice, folder)


def test_too_many_members_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MEMBERS_MAX", 1)
    assert "more than 1 files" in refusal(packed(GOOD), folder)


def test_more_bytes_than_the_images_could_have_are_refused_before_they_are_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "BYTES_MAX", 1000)
    assert "1,000 bytes" in refusal(packed({"top/train/cat_1.jpg": b"0" * 1001}), folder)
    assert not list(folder.rglob("*.jpg"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html></html>",
        gzip.compress(b"no tar file" * 1000),
        packed({"top/train/cat_1.jpg": bytes(range(256)) * 99})[:-40],
    ],
    # Packed bytes hold the time: as names they would differ between the processes that share the tests.
    ids=["empty", "html", "packed-text", "cut-short"],
)
def test_a_broken_archive_is_told(folder: Path, content: bytes) -> None:
    assert "broken or cut short" in refusal(content, folder)
