"""A folder that nothing comes into unless that is allowed."""

from __future__ import annotations

import pytest

from simclr.foundation.files import set_aside, write_whole
from simclr.foundation.guard import guarded


class Forbidden(Exception):
    pass


def forbid() -> None:
    raise Forbidden


def test_nothing_comes_into_a_guarded_folder_or_below_it_and_what_was_there_stays(tmp_path, monkeypatch):
    folder = tmp_path / "it"
    (folder / "below").mkdir(parents=True)
    write_whole(folder / "file", b"before")
    monkeypatch.chdir(tmp_path)
    with guarded(folder.relative_to(tmp_path), forbid):
        for path in (folder / "file", folder / "below" / "file"):
            with pytest.raises(Forbidden):
                write_whole(path, b"after")
        with pytest.raises(Forbidden):
            set_aside(folder)
        write_whole(tmp_path / "beside", b"after")
    assert {path.name for path in tmp_path.rglob("*")} == {"it", "below", "file", "beside"}
    assert (folder / "file").read_bytes() == b"before"
    write_whole(folder / "file", b"after")


def test_what_others_had_not_put_in_place_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "below").mkdir()
    for name in (".file.abcd", "below/.file.abcd", ".hidden", "file.npz", "below/file"):
        (tmp_path / name).write_bytes(b"")
    with guarded(tmp_path, lambda: None):
        pass
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {"below", ".hidden", "file.npz", "below/file"}


def test_it_is_asked_only_when_the_file_lies_ready(tmp_path):
    seen = []
    with guarded(tmp_path, lambda: seen.extend(path.read_bytes() for path in tmp_path.glob(".file.*"))):
        write_whole(tmp_path / "file", b"content")
    assert seen == [b"content"]


@pytest.mark.parametrize(("check", "error"), [(forbid, Forbidden), (lambda: None, FileNotFoundError)])
def test_a_file_that_another_one_took_away_is_an_error_only_where_it_is_still_allowed(tmp_path, check, error):
    with pytest.raises(error), guarded(tmp_path, check):
        (tmp_path / "gone").unlink()
