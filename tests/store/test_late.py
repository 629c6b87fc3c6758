"""Processes that are stopped, for a while or for good, in the instant before a file comes into its place."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from simclr import store
from simclr.foundation import work
from tests.store import making
from tests.store.commands import leftovers
from tests.store.making import EPOCHS, KEY, obtain

FILES = [store.CONFIG, *(EPOCHS * (store.HISTORY, store.CHECKPOINT)), ".publishing", store.WEIGHTS, "manifest.json"]
NEEDLESS = [store.CHECKPOINT, ".publishing"]
FEATURES = ["train.npy", "test.npy", "manifest.json"]
EVENTS = [
    *(f"os.rename {name}" for name in FILES),
    *(f"os.remove {name}" for name in NEEDLESS),
    *(f"os.rename {name}" for name in FEATURES),
]
PUBLISHED = len(FILES)
QUICK = (PUBLISHED - 3, PUBLISHED)  # the last checkpoint, the manifest


def every_event() -> list[object]:
    return [
        pytest.param(number, id=f"{number} {event}", marks=() if number in QUICK else pytest.mark.slow)
        for number, event in enumerate(EVENTS, 1)
    ]


@pytest.fixture(autouse=True)
def _short_lease(monkeypatch):
    monkeypatch.setattr(work, "SILENT_SECONDS", making.SILENT_SECONDS)
    monkeypatch.setattr(work, "HEARTBEAT_SECONDS", making.HEARTBEAT_SECONDS)


@pytest.fixture
def stopped(tmp_path) -> Callable[[int, int], subprocess.Popen[str]]:
    """``stopped(event, signal)``: a process that got the signal right before that."""

    def start(event: int, sent: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", making.__name__, str(tmp_path), str(event), str(sent)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == f"{EVENTS[event - 1]}\n"
        return process

    return start


def content(root: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of the pretraining, and which one it is: the same content put there anew is another file."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_ino)
        for path in store.folder(root, KEY).rglob("*")
        if path.is_file()
    }


def began_at(event: int) -> list[str]:
    """What whoever takes over after an event says: nothing where the network was there."""
    return [f"from epoch {FILES[: event - 1].count(store.CHECKPOINT)}"] if event <= PUBLISHED else []


def test_one_that_nobody_stops_leaves_what_is_needed_and_nothing_else(tmp_path):
    assert obtain(tmp_path, "me") == ["from epoch 0"]
    assert leftovers(tmp_path) == []
    assert store.find(tmp_path, KEY).manifest["by"] == "me"
    assert obtain(tmp_path, "another") == []


@pytest.mark.parametrize("event", every_event())
def test_what_one_was_about_to_put_in_place_when_it_was_suspended_never_comes_there(tmp_path, stopped, event):
    late = stopped(event, signal.SIGSTOP)
    while work.holder(store.place(tmp_path, KEY).claim).alive:
        time.sleep(0.05)
    said = obtain(tmp_path, "successor")
    before = content(tmp_path)
    late.send_signal(signal.SIGCONT)
    lines = late.communicate(timeout=60)[0].splitlines()
    assert late.returncode == 0
    assert content(tmp_path) == before
    if EVENTS[event - 1].startswith("os.rename"):  # else it had published the network, and the other one has used that
        assert lines[-1] == f"giving way at pretraining {KEY}: another process took over while this one was silent"
    assert said == began_at(event)
    assert store.find(tmp_path, KEY).manifest["by"] == ("successor" if event <= PUBLISHED else "late")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("event", every_event())
def test_killed_before_any_file_comes_into_its_place_the_next_one_loses_nothing(tmp_path, stopped, event):
    assert stopped(event, signal.SIGKILL).wait() == -signal.SIGKILL
    said = obtain(tmp_path, "next")
    assert said == began_at(event)
    assert store.find(tmp_path, KEY).manifest["by"] == ("next" if event <= PUBLISHED else "late")
    assert leftovers(tmp_path) == []
    assert not list(tmp_path.rglob("*set-aside*"))
