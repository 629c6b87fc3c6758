from __future__ import annotations

import hashlib
import tarfile
import threading
from pathlib import Path

import pytest

from simclr.data import imagenet5
from simclr.data.content import combined
from simclr.data.provision import ImageNet5, provide
from simclr.foundation.errors import RunFailed

from .samples import Server, encoded, packed, picture

FILES = {
    path: encoded(picture(seed=seed))
    for seed, path in enumerate(("train/cat_1.jpg", "train/dog_1.jpg", "test/cat_1.jpg", "test/dog_1.jpg"))
}
EXPECTED = combined([(path, hashlib.sha256(content).hexdigest()) for path, content in FILES.items()])


def archived(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    return packed({f"{imagenet5.FOLDER}-{imagenet5.COMMIT}/{path}": content for path, content in files.items()}, *more)


@pytest.fixture
def good(server: Server) -> Server:
    server.content = archived(FILES)
    return server


def obtained(server: Server, cache: Path, lines: list[str]) -> Path:
    return provide(ImageNet5(f"{server.url}/{imagenet5.ARCHIVE}", EXPECTED), cache, lines.append)


def failure(server: Server, cache: Path) -> str:
    with pytest.raises(RunFailed) as caught:
        obtained(server, cache, [])
    told = str(caught.value)
    assert "\n" not in told
    assert "set SIMCLR_DATA" in told
    assert not imagenet5.cached(cache).exists()
    assert not list(cache.glob("*.partial"))
    return told


def partial(cache: Path) -> Path:
    return cache / "imagenet-5-categories.tar.gz.part"


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.jpg")}


def test_the_pinned_commit_is_downloaded_verified_and_put_in_place(good: Server, cache: Path, lines: list[str]) -> None:
    assert contents(obtained(good, cache, lines)) == FILES
    assert good.paths == [f"/thunderInfy/imagenet-5-categories/archive/{imagenet5.COMMIT}.tar.gz"]
    assert [file.name for file in cache.iterdir() if file.name != "hashes"] == ["imagenet-5-categories"]


def test_what_is_in_the_cache_is_not_downloaded_again(good: Server, cache: Path, lines: list[str]) -> None:
    obtained(good, cache, lines)
    obtained(good, cache, lines)
    assert len(good.asked) == 1


def test_a_copy_that_went_bad_is_set_aside_and_replaced(good: Server, cache: Path, lines: list[str]) -> None:
    folder = obtained(good, cache, lines)
    for _ in range(2):
        (folder / "train/cat_1.jpg").write_bytes(b"bad")
        assert contents(obtained(good, cache, lines)) == FILES
        aside = max(folder.parent.glob("imagenet-5-categories.set-aside-*"))
        assert (aside / "train/cat_1.jpg").read_bytes() == b"bad"
    assert any("set aside" in line for line in lines)


def test_a_download_that_was_cut_short_is_kept_and_goes_on(good: Server, cache: Path, lines: list[str]) -> None:
    good.cut_at = 500
    told = failure(good, cache)
    assert "cut short" in told
    assert "starting again goes on from it" in told
    assert partial(cache).stat().st_size == 500
    good.cut_at = None
    assert contents(obtained(good, cache, lines)) == FILES
    assert good.asked == [None, "bytes=500-"]
    assert not partial(cache).exists()


def test_one_wrong_byte_is_noticed_and_thrown_away(server: Server, cache: Path) -> None:
    wrong = dict(FILES)
    wrong["test/dog_1.jpg"] = wrong["test/dog_1.jpg"][:-1] + b"x"
    server.content = archived(wrong)
    assert f"expected was {EXPECTED[:12]}" in failure(server, cache)
    assert not partial(cache).exists()


@pytest.mark.parametrize("lost", list(FILES))
def test_a_missing_file_is_noticed(server: Server, cache: Path, lost: str) -> None:
    server.content = archived({path: content for path, content in FILES.items() if path != lost})
    assert "wrong bytes" in failure(server, cache)


def test_parts_of_two_different_archives_are_downloaded_anew(good: Server, cache: Path, lines: list[str]) -> None:
    cache.mkdir(parents=True)
    partial(cache).write_bytes(b"\x1f\x8b" + b"other" * 100)
    assert contents(obtained(good, cache, lines)) == FILES
    assert good.asked == ["bytes=502-", None]
    assert any("do not fit together" in line for line in lines)


def test_an_archive_that_leads_out_of_its_folder_is_refused(server: Server, cache: Path) -> None:
    server.content = packed({"../evil.jpg": b"x"})
    assert "'../evil.jpg' leads out of the folder" in failure(server, cache)
    assert not list(cache.parent.parent.rglob("evil*"))


def test_an_archive_with_a_link_is_refused(server: Server, cache: Path) -> None:
    link = tarfile.TarInfo("top/train/cat_9.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    server.content = archived(FILES, link)
    assert "is a link" in failure(server, cache)


def test_a_page_instead_of_the_archive_is_noticed(server: Server, cache: Path) -> None:
    server.content = b"<html>please log in</html>"
    assert "broken or cut short" in failure(server, cache)
    assert not partial(cache).exists()


def test_a_server_without_the_archive_is_told(server: Server, cache: Path) -> None:
    server.status = 404
    assert "the server answered 404" in failure(server, cache)


def test_a_cache_that_cannot_be_written_is_told(good: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFailed, match="cannot be written"):
        obtained(good, tmp_path / "file" / "data", [])


def test_two_at_once_download_once(good: Server, cache: Path, lines: list[str]) -> None:
    threads = [threading.Thread(target=obtained, args=(good, cache, lines)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(good.asked) == 1
    assert contents(imagenet5.cached(cache)) == FILES
