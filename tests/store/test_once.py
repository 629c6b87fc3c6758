"""One process at a time makes a thing; what happens when it dies, sleeps, fails or is somewhere else."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from simclr.foundation import work
from simclr.foundation.errors import RunFailed
from simclr.foundation.work import Claim, ClaimLost, holder, this_process
from simclr.store.once import Place, made_once
from tests.mounts import private_mounts


class Thing:
    """Something in a file that is made once, and everything that was said and done about it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "thing" / "made"
        self.place = Place("the thing", folder / "thing")
        self.made: list[str] = []
        self.said: list[str] = []

    def find(self) -> str | None:
        return self.file.read_text() if self.file.exists() else None

    def make(self, held: Claim, by: str = "me") -> str:
        held.check()
        self.made.append(by)
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(by)
        return by

    def obtain(self, make: Callable[[Claim], str] | None = None) -> str:
        return made_once(self.place, self.find, make or self.make, self.said.append)

    def is_clean(self) -> bool:
        left = {path.name for path in (*self.place.claim.parent.iterdir(), *self.file.parent.iterdir())}
        return left == {"thing", "made"}


@pytest.fixture
def thing(tmp_path):
    return Thing(tmp_path)


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait for what another process or thread does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@pytest.fixture
def short_lease(monkeypatch):
    """Whoever is silent for a second is dead."""
    monkeypatch.setattr(work, "SILENT_SECONDS", 1.0)
    monkeypatch.setattr(work, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(work, "POLL_SECONDS", 0.05)


def test_what_is_missing_is_made_and_nothing_else_is_left(thing):
    assert thing.obtain() == "me"
    assert thing.made == ["me"]
    assert thing.said == []
    assert thing.is_clean()


def test_what_is_there_is_found_without_a_claim_or_a_file(thing):
    thing.file.parent.mkdir()
    thing.file.write_text("earlier")
    thing.place.claim.write_text("in the way of every claim")
    assert thing.obtain() == "earlier"
    assert thing.made == thing.said == []


def test_what_another_has_made_between_looking_and_claiming_is_not_made_again(thing):
    looks = []

    def find() -> str | None:
        looks.append(True)
        return None if len(looks) == 1 else "another's"

    assert made_once(thing.place, find, thing.make, thing.said.append) == "another's"
    assert thing.made == []
    assert not thing.place.claim.exists()


@pytest.mark.parametrize("error", [ValueError("no"), OSError("no"), KeyboardInterrupt(), SystemExit(143)], ids=repr)
def test_a_maker_that_fails_gives_its_claim_back(thing, error):
    def fail(held: Claim) -> str:
        assert thing.place.claim.exists()
        raise error

    with pytest.raises(type(error)):
        thing.obtain(fail)
    assert holder(thing.place.claim) is None
    assert thing.obtain() == "me"
    assert thing.is_clean()


def test_one_that_had_begun_leaves_word_of_how_far_it_came(thing):
    def stop(held: Claim) -> str:
        held.tell(epoch=3)
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        thing.obtain(stop)
    last = holder(thing.place.claim)
    assert (last.process, last.alive, last.facts["epoch"]) == (this_process(), False, 3)
    assert thing.obtain() == "me"
    assert thing.said == []  # nobody waited for it
    assert thing.is_clean()


def test_of_many_threads_one_makes_it_and_all_have_it(thing):
    others = threading.Barrier(8)
    found = []

    def run(number: int) -> None:
        others.wait()
        found.append(thing.obtain(lambda held: thing.make(held, str(number))))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(thing.made) == 1
    assert found == thing.made * 8
    assert thing.is_clean()


PROCESS = """
import os, sys, time
from pathlib import Path
from simclr.store.once import Place, made_once

folder = Path(sys.argv[1])
made = folder / "thing" / "made"
place = Place("the thing", folder / "thing")

def make(claim):
    with (folder / "makers").open("a") as makers:
        makers.write(f"{os.getpid()}\\n")
    claim.tell(epoch=3, epochs=7)
    print("making", flush=True)
    %s
    claim.check()
    made.parent.mkdir(exist_ok=True)
    made.write_text(str(os.getpid()))
    return made.read_text()

print("made by", made_once(place, lambda: made.read_text() if made.exists() else None, make, print), flush=True)
"""
AT_ONCE, WHEN_TOLD = "pass", "sys.stdin.readline()"


def process(folder: Path, then: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS % then, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_of_many_processes_one_makes_it_and_all_have_it(thing, tmp_path):
    processes = [process(tmp_path, AT_ONCE) for _ in range(8)]
    last = {each.communicate(timeout=60)[0].splitlines()[-1] for each in processes}
    (maker,) = (tmp_path / "makers").read_text().split()
    assert last == {f"made by {maker}"}
    assert {each.returncode for each in processes} == {0}
    (tmp_path / "makers").unlink()
    assert thing.is_clean()


def test_whoever_waits_says_for_whom_since_when_and_goes_on_when_it_is_there(thing, tmp_path):
    maker = process(tmp_path, WHEN_TOLD)
    assert maker.stdout.readline() == "making\n"
    waiter = process(tmp_path, AT_ONCE)
    said = waiter.stdout.readline()
    assert said.startswith(f"waiting for the thing: process {maker.pid} on {platform.node()}, since 2")
    assert said.endswith(" is at it\n")
    maker.communicate("\n", timeout=60)
    assert waiter.communicate(timeout=60)[0] == f"made by {maker.pid}\n"
    assert (tmp_path / "makers").read_text() == f"{maker.pid}\n"


def test_waiting_is_said_once_for_each_holder(thing, tmp_path):
    first = process(tmp_path, WHEN_TOLD)
    assert first.stdout.readline() == "making\n"
    waiter = threading.Thread(target=thing.obtain)
    waiter.start()
    until(lambda: thing.said)
    first.kill()
    first.communicate()
    waiter.join(60)
    assert len([line for line in thing.said if line.startswith("waiting")]) == 1


def test_a_holder_that_was_killed_is_taken_over_at_once_and_that_is_said(thing, tmp_path):
    """Long before its lease would be over: a dead process on this machine is known by its number."""
    dead = process(tmp_path, WHEN_TOLD)
    assert dead.stdout.readline() == "making\n"
    waiter = process(tmp_path, AT_ONCE)
    assert f"process {dead.pid}" in waiter.stdout.readline()
    begun = time.monotonic()
    dead.kill()
    dead.communicate()
    said, _ = waiter.communicate(timeout=60)
    assert time.monotonic() - begun < work.SILENT_SECONDS
    assert said.splitlines() == [
        f"taking over the thing: process {dead.pid} on {platform.node()} left it unfinished",
        "making",
        f"made by {waiter.pid}",
    ]
    (tmp_path / "makers").unlink()
    assert thing.is_clean()


def test_what_a_killed_process_has_left_needs_no_cleaning_up(thing, tmp_path):
    dead = process(tmp_path, WHEN_TOLD)
    assert dead.stdout.readline() == "making\n"
    dead.kill()
    dead.communicate()
    assert thing.place.claim.exists()
    begun = time.monotonic()
    assert thing.obtain() == "me"
    assert time.monotonic() - begun < work.SILENT_SECONDS
    (tmp_path / "makers").unlink()
    assert thing.is_clean()


def test_who_is_at_it_can_be_read_without_taking_or_leaving_anything(thing, tmp_path):
    assert holder(thing.place.claim) is None
    maker = process(tmp_path, WHEN_TOLD)
    assert maker.stdout.readline() == "making\n"
    before = sorted(path.name for path in tmp_path.rglob("*"))
    found = holder(thing.place.claim)
    assert (found.process.host, found.process.pid, found.alive) == (platform.node(), maker.pid, True)
    assert (found.facts["epoch"], found.facts["epochs"]) == (3, 7)
    assert str(found).startswith(f"process {maker.pid} on {platform.node()}, since ")
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    maker.kill()
    maker.communicate()
    found = holder(thing.place.claim)
    assert (found.process.pid, found.alive, found.facts["epoch"]) == (maker.pid, False, 3)


def test_nobody_looks_for_it_while_another_is_at_it(thing, tmp_path):
    """What is looked for may be gigabytes whose checksums are compared."""
    maker, looks = process(tmp_path, WHEN_TOLD), []
    assert maker.stdout.readline() == "making\n"

    def find() -> str | None:
        looks.append(time.monotonic())
        return thing.find()

    waiter = threading.Thread(target=lambda: made_once(thing.place, find, thing.make, thing.said.append))
    waiter.start()
    until(lambda: thing.said)
    time.sleep(1.5)
    assert len(looks) == 1
    maker.communicate("\n", timeout=60)
    waiter.join(60)
    assert len(looks) == 2
    assert thing.made == []


def test_whoever_waits_can_be_stopped(thing, tmp_path):
    maker = process(tmp_path, WHEN_TOLD)
    assert maker.stdout.readline() == "making\n"

    def stop() -> None:
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        made_once(thing.place, thing.find, thing.make, thing.said.append, idle=stop)
    maker.communicate("\n", timeout=60)


def elsewhere(thing: Thing) -> Path:
    """Do as a process on another machine does that takes the claim; its file."""
    thing.place.claim.mkdir(exist_ok=True)
    number = 1 + max((int(path.name) for path in thing.place.claim.iterdir()), default=0)
    path = thing.place.claim / str(number)
    process = {"host": "another-machine", "space": "another boot", "pid": 4711, "started": "1"}
    path.write_text(json.dumps({"process": process, "since": "2026-01-01T00:00:00+00:00"}))
    return path


def test_a_holder_that_was_taken_over_notices_before_it_publishes_and_uses_the_others(thing):
    def make(held: Claim) -> str:
        thing.made.append("me, too late")
        elsewhere(thing)
        with pytest.raises(ClaimLost):
            held.check()
        thing.file.parent.mkdir()
        thing.file.write_text("the other's")
        held.check()
        raise AssertionError("not reached")

    assert thing.obtain(make) == "the other's"
    assert thing.said == ["giving way at the thing: another process took over while this one was silent"]
    assert holder(thing.place.claim).process.host == "another-machine"  # whose it is to remove


def test_a_holder_whose_file_is_gone_gives_way_and_makes_it_anew_where_nobody_has(thing):
    def make(held: Claim) -> str:
        if not thing.made:
            thing.made.append("too late")
            (thing.place.claim / "1").unlink()
        return thing.make(held)

    assert thing.obtain(make) == "me"
    assert thing.made == ["too late", "me"]
    assert len(thing.said) == 1
    assert thing.is_clean()


def test_a_process_that_was_stopped_for_longer_than_its_lease_gives_way(thing, tmp_path, short_lease):
    """As a laptop's lid does it. It wakes up amid the other's work."""
    begin = f"from simclr.foundation import work\nwork.SILENT_SECONDS, work.HEARTBEAT_SECONDS = 1.0, 0.2\n{PROCESS}"
    sleeper = subprocess.Popen(
        [sys.executable, "-c", begin % WHEN_TOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert sleeper.stdout.readline() == "making\n"
    sleeper.send_signal(signal.SIGSTOP)

    def make(held: Claim) -> str:
        sleeper.send_signal(signal.SIGCONT)
        sleeper.stdin.write("\n")
        sleeper.stdin.flush()
        assert sleeper.stdout.readline().startswith("giving way at the thing")
        return thing.make(held)

    assert thing.obtain(make) == "me"
    assert sleeper.communicate(timeout=60)[0].splitlines()[-1] == "made by me"
    assert thing.said[-1].startswith("taking over the thing")


def test_a_holder_elsewhere_is_waited_for_until_its_lease_is_over(thing, tmp_path, short_lease):
    file = elsewhere(thing)
    beats = 10

    def beat() -> None:
        for _ in range(beats):
            os.utime(file)
            time.sleep(0.2)

    alive = threading.Thread(target=beat)
    alive.start()
    silent_since = []

    def make(held: Claim) -> str:
        silent_since.append(alive.is_alive())
        return thing.make(held)

    assert thing.obtain(make) == "me"
    assert silent_since == [False]
    since = datetime(2026, 1, 1, tzinfo=timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert thing.said[0] == "waiting for the thing: process 4711 on another-machine, since " + since + " is at it"
    assert thing.said[1] == "taking over the thing: process 4711 on another-machine left it unfinished"
    assert thing.is_clean()


@pytest.mark.parametrize("content", [b"", b"garbage\n", b'{"process": {"host":'], ids=["empty", "garbage", "half"])
def test_a_claim_that_a_crash_left_half_written_is_not_waited_for_for_ever(thing, short_lease, content):
    elsewhere(thing).write_bytes(content)
    assert thing.obtain() == "me"
    assert thing.is_clean()


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    with private_mounts(f"mount --bind -o ro '{tmp_path}' '{tmp_path}'; mount -o remount,bind,ro '{tmp_path}'") as seen:
        thing = Thing(seen / tmp_path.relative_to("/"))
        with pytest.raises(RunFailed, match=r"cannot be written to \(Read-only file system\)") as caught:
            thing.obtain()
        assert str(thing.place.claim.parent) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_claims_place_is_an_error_that_names_it(tmp_path):
    thing = Thing(tmp_path)
    thing.place.claim.write_text("a file")
    with pytest.raises(RunFailed, match="cannot be written to"):
        thing.obtain()
