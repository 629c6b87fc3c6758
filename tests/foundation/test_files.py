"""Files that are whole or not there, and sealed folders, in which any later change is found."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simclr.foundation.files import (
    MANIFEST,
    SET_ASIDE,
    Damaged,
    make_folder,
    seal,
    sealed,
    set_aside,
    sha256,
    whole_file,
    write_whole,
)
from tests.mounts import small_disk

CONTENTS = {"one.bin": bytes(range(256)), "two.csv": b"epoch,loss\n1,3.5\n", "empty": b""}
FACTS = {"schema": 1, "loss": 3.5, "steps": 60, "name": "a cell", "nothing": None, "by layer": {"encoder": 0.25}}


def filled(folder: Path) -> Path:
    """A sealed folder with a few files."""
    folder.mkdir(exist_ok=True)
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    seal(folder, list(CONTENTS), FACTS)
    return folder


@pytest.fixture
def folder(tmp_path):
    return filled(tmp_path / "sealed")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# A file that is whole or not there


def test_a_whole_file_has_what_was_written(tmp_path):
    write_whole(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert names(tmp_path) == {"file"}


def test_a_whole_file_can_be_read_by_others(tmp_path):
    write_whole(tmp_path / "file", b"content")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_while_it_is_written_readers_see_what_was_there_before(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with whole_file(path) as file:
        file.write(b"half of ")
        file.flush()
        assert path.read_bytes() == b"before"
        file.write(b"it")
    assert path.read_bytes() == b"half of it"


def test_a_reader_who_opened_the_file_before_reads_it_to_its_end(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with path.open("rb") as reader:
        write_whole(path, b"after")
        assert reader.read() == b"before"


@pytest.mark.parametrize(
    "end", [ValueError("no"), KeyboardInterrupt(), SystemExit(143)], ids=lambda end: type(end).__name__
)
@pytest.mark.parametrize("before", [None, b"before"], ids=["new", "replaced"])
def test_a_block_that_does_not_end_well_changes_nothing_and_leaves_nothing(tmp_path, before, end):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(type(end)), whole_file(path) as file:
        file.write(b"half")
        raise end
    assert names(tmp_path) == ({"file"} if before else set())
    assert before is None or path.read_bytes() == before


def test_a_folder_that_is_missing_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "missing" / "file", b"")


def test_on_a_full_disk_what_was_there_before_stays_and_nothing_half_written(tmp_path):
    with small_disk(tmp_path, megabytes=1) as disk:
        path = disk.path / "file"
        write_whole(path, b"before")
        disk.leave(8192)
        with pytest.raises(OSError, match="No space left on device"):
            write_whole(path, bytes(100_000))
        assert names(disk.path) == {"file", "filler"}
        assert path.read_bytes() == b"before"
        disk.make_room()
        write_whole(path, bytes(100_000))
        assert path.read_bytes() == bytes(100_000)


# A folder that is sealed


def test_a_sealed_folder_gives_back_the_facts_that_it_was_sealed_with(folder):
    manifest = sealed(folder)
    assert {name: manifest[name] for name in FACTS} == FACTS
    assert set(manifest["files"]) == set(CONTENTS)
    assert manifest["files"]["one.bin"] == {"bytes": 256, "sha256": sha256(folder / "one.bin")}


def test_sealing_returns_the_manifest_as_it_is_read_later(folder):
    assert seal(folder, list(CONTENTS), FACTS) == sealed(folder)


def test_without_a_manifest_a_folder_is_unfinished(tmp_path):
    (tmp_path / "one.bin").write_bytes(b"1")
    assert sealed(tmp_path) is None
    assert sealed(tmp_path / "missing") is None
    assert sealed(tmp_path / "one.bin") is None


def test_what_does_not_belong_to_a_folder_may_come_and_go(folder):
    (folder / "progress.json").write_bytes(b"{}")
    assert sealed(folder) is not None


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_refused_before_anything_is_written(tmp_path, number):
    with pytest.raises(ValueError, match="JSON"):
        seal(tmp_path, [], {"loss": number})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["one.bin", "two.csv"])
def test_a_truncated_file_is_found_and_its_size_told(folder, name):
    content = CONTENTS[name][:-1]
    (folder / name).write_bytes(content)
    with pytest.raises(Damaged, match=rf"{name} has {len(content)} bytes, not {len(content) + 1}"):
        sealed(folder)


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_with_something_appended_is_found(folder, name):
    (folder / name).write_bytes(CONTENTS[name] + b"\0")
    with pytest.raises(Damaged, match=rf"{name} has {len(CONTENTS[name]) + 1} bytes"):
        sealed(folder)


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_is_gone_is_found(folder, name):
    (folder / name).unlink()
    with pytest.raises(Damaged, match=rf"{name} cannot be read \(No such file"):
        sealed(folder)


@pytest.mark.parametrize("name", CONTENTS)
def test_a_folder_in_a_files_place_is_found(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(Damaged, match=name):
        sealed(folder)


def test_a_folder_in_the_manifests_place_is_found(folder):
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).mkdir()
    with pytest.raises(Damaged, match=r"manifest.json cannot be read \(Is a directory\)"):
        sealed(folder)


GARBAGE = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"3",
    b'"files"',
    b"{}",
    b'{"files": null}',
    b'{"files": []}',
    b'{"files": {"one.bin": null}}',
    b'{"files": {"one.bin": {}}}',
    b'{"files": {"one.bin": {"bytes": "many", "sha256": "0"}}}',
    b"\xff\xfe\x00",
    b"[" * 100_000,
    bytes(1000),
]


@pytest.mark.parametrize("content", GARBAGE, ids=lambda content: repr(content[:30]))
def test_a_manifest_that_is_none_is_damage(folder, content):
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(Damaged, match=r"manifest\.json"):
        sealed(folder)


@given(st.binary(max_size=300))
def test_whatever_is_in_the_manifest_is_a_manifest_or_damage(content):
    with tempfile.TemporaryDirectory() as temporary:
        folder = filled(Path(temporary))
        (folder / MANIFEST).write_bytes(content)
        with pytest.raises(Damaged):
            sealed(folder)


@given(st.data())
def test_any_change_of_one_byte_of_any_file_is_found_or_harmless(data):
    """Harmless is what leaves every fact and every file as it was, say another kind of white space."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = filled(Path(temporary))
        before = sealed(folder)
        path = folder / data.draw(st.sampled_from([name for name in (*CONTENTS, MANIFEST) if name != "empty"]))
        content = bytearray(path.read_bytes())
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        try:
            after = sealed(folder)
        except Damaged:
            return
        assert after == before
        assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS


@pytest.mark.parametrize(
    ("was", "is_now"),
    [('"steps": 60', '"steps": 61'), ('"loss": 3.5', '"loss": 3.6'), ('"schema": 1', '"schema": 2'), ("0.25", "0.35")],
)
def test_a_fact_that_has_changed_since_is_found(folder, was, is_now):
    text = (folder / MANIFEST).read_text()
    assert was in text
    (folder / MANIFEST).write_text(text.replace(was, is_now))
    with pytest.raises(Damaged, match=r"manifest\.json"):
        sealed(folder)


@given(st.data())
def test_a_manifest_cut_anywhere_is_damage(data):
    with tempfile.TemporaryDirectory() as temporary:
        folder = filled(Path(temporary))
        content = (folder / MANIFEST).read_bytes()
        (folder / MANIFEST).write_bytes(content[: data.draw(st.integers(0, len(content) - 2))])
        with pytest.raises(Damaged):
            sealed(folder)


def test_trusting_the_files_reads_the_manifest_alone(folder):
    (folder / "one.bin").unlink()
    assert sealed(folder, verify=False)["steps"] == 60
    (folder / MANIFEST).write_text("{")
    with pytest.raises(Damaged):
        sealed(folder, verify=False)


def test_a_folder_may_be_moved_and_copied(folder, tmp_path):
    before = sealed(folder)
    shutil.copytree(folder, tmp_path / "copy")
    assert sealed(tmp_path / "copy") == before
    assert sealed(folder.rename(tmp_path / "moved")) == before


def test_the_manifest_can_be_read_by_a_person_and_by_any_program(folder):
    text = (folder / MANIFEST).read_text()
    assert text.count("\n") > len(FACTS)
    assert json.loads(text)["name"] == "a cell"


# A folder set aside


def test_what_is_set_aside_keeps_every_byte_beside_where_it_was(folder):
    aside = set_aside(folder)
    assert not folder.exists()
    assert aside.parent == folder.parent
    assert aside.name.startswith(f"{folder.name}{SET_ASIDE}")
    assert {name: (aside / name).read_bytes() for name in CONTENTS} == CONTENTS


def test_what_was_set_aside_earlier_is_kept(tmp_path):
    kept = []
    for number in range(5):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "number").write_text(str(number))
        kept.append(set_aside(tmp_path / "folder"))
    assert len(set(kept)) == 5
    assert [(aside / "number").read_text() for aside in kept] == list("01234")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o002, 0o664, 0o775), (0o077, 0o600, 0o700)]
)
def test_files_and_folders_obey_the_umask(tmp_path, umask, file, folder):
    before = os.umask(umask)
    try:
        made = make_folder(tmp_path / "a" / "b")
        write_whole(made / "file", b"x")
    finally:
        os.umask(before)
    assert (mode(made / "file"), mode(made), mode(made.parent)) == (file, folder, folder)


def test_in_a_groups_folder_the_group_may_write(tmp_path):
    tmp_path.chmod(0o2775)
    before = os.umask(0o022)
    try:
        made = make_folder(tmp_path / "a" / "b")
        write_whole(made / "file", b"x")
    finally:
        os.umask(before)
    assert (mode(made / "file"), mode(made), mode(made.parent)) == (0o664, 0o775, 0o775)
    assert made.stat().st_mode & stat.S_ISGID


def test_a_file_in_a_folders_place_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"exists|Not a directory"):
            make_folder(path)


SHARING = """
import os, sys
from pathlib import Path
from simclr.foundation.files import make_folder, write_whole
from simclr.foundation.work import at_work, held, take
from simclr.records import result
from simclr.store.once import Place, made_once

root = Path(sys.argv[1])
record = {"schema": 1, "status": "finished"}

def use(by):
    with at_work(result.folder(root, "cell")) as word:
        assert word is not None
        place = root / "pretrained" / "abc"
        made_once(
            Place("it", place),
            lambda: None,
            lambda claim: (claim.tell(epoch=1), make_folder(place), write_whole(place / "network", by)),
            print,
        )
        with held(root / "sweeps" / "one" / ".sweep"):
            result.write(root, "cell", record, "", {"predictions.npz": {}})
    take(root / "pretrained" / ".left.claim") and os._exit(0)  # which leaves it behind

for user in (12001, 12002, 12001):
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(12000)
        os.setuid(user)
        os.umask(0o022)
        use(b"%d" % user)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0, user
print((root / "pretrained" / "abc" / "network").read_text())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_two_users_of_a_group_share_a_root():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are for one user
        root = Path(folder) / "runs"
        root.mkdir()
        Path(folder).chmod(0o755)
        os.chown(root, 12001, 12000)
        root.chmod(0o2775)
        done = subprocess.run([sys.executable, "-c", SHARING, str(root)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["12001"]
