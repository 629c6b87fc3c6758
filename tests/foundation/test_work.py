"""Who is at work on what: words and claims, on this machine and on others, under clocks that differ."""

from __future__ import annotations

import errno
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from simclr.foundation import files, work
from simclr.foundation.work import ClaimLost, at_work, held, holder, said, take, this_process, words
from tests.mounts import small_disk


@pytest.fixture
def quick(monkeypatch):
    """Whoever is silent for a second is dead."""
    monkeypatch.setattr(work, "SILENT_SECONDS", 1.0)
    monkeypatch.setattr(work, "HEARTBEAT_SECONDS", 0.2)


def write(path: Path, *, age: float = 0.0, **changes: object) -> Path:
    """A word as a process that differs from this one in some way has left it, so many seconds ago."""
    process = replace(this_process(), **changes)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"process": vars(process), "since": "2020-01-01T00:00:00+00:00", "epoch": 3}))
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return path


def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_word_tells_who_since_when_and_how_far_and_goes_with_the_block(tmp_path):
    with at_work(tmp_path / "cell", pretraining="abc") as word:
        word.tell(epoch=3)
        (found,) = words(tmp_path / "cell")
        assert found.process == this_process()
        assert found.alive
        assert found.since.endswith("+00:00")
        assert (found.facts["pretraining"], found.facts["epoch"]) == ("abc", 3)
        assert str(found).startswith(f"process {os.getpid()} on {platform.node()}, since 2")
    assert not (tmp_path / "cell").exists()


def test_two_processes_have_words_of_their_own(tmp_path):
    with at_work(tmp_path) as one:
        with at_work(tmp_path) as other:
            other.tell(epoch=1)
            assert len(words(tmp_path)) == 2
        one.tell(epoch=2)
        assert [each.facts["epoch"] for each in words(tmp_path)] == [2]


def test_a_word_that_grows_and_shrinks_can_be_read_at_any_time(tmp_path):
    with at_work(tmp_path) as word:
        for length in (10, 5000, 20):
            word.tell(detail="x" * length)
            assert len(words(tmp_path)[0].facts["detail"]) == length


def test_what_cannot_be_told_does_not_end_the_work(tmp_path):
    (tmp_path / "file").touch()
    with at_work(tmp_path / "file" / "cell") as word:
        assert word is None
    with small_disk(tmp_path, megabytes=1) as disk:
        with at_work(disk.path / "cell") as word:
            disk.leave(0)
            word.tell(detail="x" * 500_000)
        assert not (disk.path / "cell").exists()


def test_words_of_the_dead_go_when_the_next_one_begins(tmp_path):
    write(tmp_path / f"{work.WORDS}1", pid=dead())
    assert [each.alive for each in words(tmp_path)] == [False]
    with at_work(tmp_path):
        assert [each.process.pid for each in words(tmp_path)] == [os.getpid()]


# Who lives


@pytest.mark.parametrize(
    ("changes", "age", "alive"),
    [
        pytest.param({}, 0, True, id="this one"),
        pytest.param({"started": "1"}, 0, False, id="another one had its number"),
        pytest.param({"space": "another boot"}, 0, True, id="elsewhere"),
        pytest.param({"space": "another boot"}, 100, False, id="elsewhere, silent"),
        pytest.param({"host": "container"}, 0, True, id="the same by another name"),
        pytest.param({"space": "", "host": "elsewhere"}, 0, True, id="of an unknown system"),
        pytest.param({}, 100, False, id="suspended"),
    ],
)
def test_who_lives(tmp_path, changes, age, alive):
    assert said(write(tmp_path / "word", age=age, **changes)).alive is alive


def test_a_process_that_has_ended_is_dead_at_once_and_so_is_one_that_nobody_has_waited_for(tmp_path):
    assert not said(write(tmp_path / "word", pid=dead(), started="")).alive
    process = subprocess.Popen([sys.executable, "-c", ""])
    time.sleep(0.5)
    assert not said(write(tmp_path / "word", pid=process.pid, started=work._started(process.pid))).alive
    process.wait()


def test_a_process_in_a_container_cannot_be_seen_and_is_known_by_its_silence(tmp_path):
    """A PID namespace of its own on the same kernel: its numbers mean other processes here."""
    space = this_process().space.split()[0] + " pid:[1]"
    assert said(write(tmp_path / "word", space=space, pid=1)).alive
    assert not said(write(tmp_path / "word", space=space, pid=1, age=100)).alive


@pytest.mark.parametrize("ahead", [-3600.0, -2.0, 2.0, 3600.0])
def test_silence_is_measured_by_the_clock_of_the_file_server(tmp_path, monkeypatch, ahead):
    """Its files have the times of its own clock, which may be hours away from this machine's."""
    files._clocks.clear()
    monkeypatch.setattr(files.time, "time", lambda now=time.time: now() - ahead)
    path = write(tmp_path / "word", space="another boot")
    for silent, alive in ((1, True), (100, False)):
        at = path.parent / "now"
        at.touch()
        moment = at.stat().st_mtime - silent
        os.utime(path, (moment, moment))
        assert said(path).alive is alive


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"process": 1}', b'{"process": {}, "since": 0}'])
def test_a_word_that_was_not_written_to_its_end_holds_until_it_is_silent(tmp_path, content):
    path = tmp_path / "word"
    path.write_bytes(content)
    assert said(path).alive
    os.utime(path, (0, 0))
    assert not said(path).alive


def test_what_is_not_there_is_none(tmp_path):
    assert said(tmp_path / "word") is None
    assert words(tmp_path / "nowhere") == []
    assert holder(tmp_path / "nowhere") is None


def test_looking_leaves_nothing_behind(tmp_path):
    write(tmp_path / "claim" / "1")
    before = sorted(tmp_path.rglob("*"))
    assert holder(tmp_path / "claim").alive
    assert sorted(tmp_path.rglob("*")) == before


# Claims


def test_one_has_a_claim_until_it_ends(tmp_path):
    claim = take(tmp_path / "claim")
    claim.check()
    assert take(tmp_path / "claim") is None
    claim.end()
    assert not (tmp_path / "claim").exists()
    take(tmp_path / "claim").end()


def test_a_claim_that_is_left_standing_tells_of_the_last_one_and_is_nobodys(tmp_path):
    claim = take(tmp_path / "claim")
    claim.tell(epoch=7)
    claim.end(leave=True)
    assert not holder(tmp_path / "claim").alive
    assert holder(tmp_path / "claim").facts["epoch"] == 7
    take(tmp_path / "claim").end()
    assert not (tmp_path / "claim").exists()


@pytest.mark.parametrize("age", [0, 100])
def test_that_of_a_dead_process_is_taken_over_at_once(tmp_path, age):
    write(tmp_path / "claim" / "4", pid=dead(), started="", age=age)
    claim = take(tmp_path / "claim")
    assert [path.name for path in (tmp_path / "claim").iterdir()] == ["5"]
    claim.end()


def test_that_of_a_process_elsewhere_is_taken_over_when_it_is_silent(tmp_path):
    path = write(tmp_path / "claim" / "1", space="another boot")
    assert take(tmp_path / "claim") is None
    os.utime(path, (0, 0))
    take(tmp_path / "claim").end()


def test_whoever_was_taken_over_notices_and_leaves_the_others_claim_alone(tmp_path):
    claim = take(tmp_path / "claim")
    write(tmp_path / "claim" / "2", space="another boot")
    with pytest.raises(ClaimLost):
        claim.check()
    claim.tell(epoch=1)
    claim.end()
    assert [path.name for path in (tmp_path / "claim").iterdir()] == ["2"]


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_claim_whose_file_is_gone_is_lost_and_does_not_come_back(tmp_path, how):
    claim = take(tmp_path / "claim")
    (tmp_path / "claim" / "1").unlink()
    if how == "replaced":
        write(tmp_path / "claim" / "1", space="another boot")
    with pytest.raises(ClaimLost):
        claim.check()
    claim.tell(epoch=1)
    claim.end()
    assert (tmp_path / "claim" / "1").exists() is (how == "replaced")


@pytest.mark.parametrize("place", ["claim", "folder/claim", "folder/below/claim"])
@pytest.mark.parametrize("kind", ["file", "broken link"])
def test_something_else_in_the_way_of_a_claim_is_an_error_and_not_waited_for(tmp_path, place, kind):
    way = tmp_path / place.split("/")[0]
    if kind == "file":
        way.write_text("in the way")
    else:
        way.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match="exists|Not a directory"):
        take(tmp_path / place)


def test_one_that_is_taken_while_another_judges_the_last_holder_is_respected(tmp_path, monkeypatch):
    """Between the look at a dead holder and the claim, others have taken it over, let go, and taken it anew."""
    write(tmp_path / "claim" / "1", pid=dead(), started="")
    look = work.said

    def slow(path: Path):
        found = look(path)
        monkeypatch.setattr(work, "said", look)
        (tmp_path / "claim" / "1").unlink()
        write(tmp_path / "claim" / "1", space="another boot")
        return found

    monkeypatch.setattr(work, "said", slow)
    assert take(tmp_path / "claim") is None
    assert [path.name for path in (tmp_path / "claim").iterdir()] == ["1"]


def test_of_many_threads_one_at_a_time_is_inside(tmp_path):
    inside, most = [], []

    def run() -> None:
        for _ in range(5):
            with held(tmp_path / "claim"):
                inside.append(True)
                most.append(len(inside))
                time.sleep(0.002)
                inside.pop()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20
    assert list(tmp_path.iterdir()) == []


COUNT = """
import sys
from pathlib import Path
from simclr.foundation.work import held
folder = Path(sys.argv[1])
for _ in range(20):
    with held(folder / "claim"):
        count = int((folder / "count").read_text())
        (folder / "count").write_text(str(count + 1))
"""


def test_of_many_processes_none_loses_what_another_did(tmp_path):
    (tmp_path / "count").write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path)]) for _ in range(5)]
    assert [process.wait() for process in processes] == [0] * 5
    assert (tmp_path / "count").read_text() == "100"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


def test_who_waits_is_told_for_whom_once(tmp_path):
    claim, told = take(tmp_path / "claim"), []
    threading.Timer(0.3, claim.end).start()
    with held(tmp_path / "claim", told.append):
        pass
    assert [each.process for each in told] == [this_process()]


def test_a_holder_gives_signs_of_life_however_long_it_takes(tmp_path, quick):
    code = (
        "import sys, time; from pathlib import Path; from simclr.foundation import work\n"
        "work.SILENT_SECONDS, work.HEARTBEAT_SECONDS = 1.0, 0.2\n"
        "claim = work.take(Path(sys.argv[1])); print('taken', flush=True)\n"
        "end = time.monotonic() + 2.5\n"
        "while time.monotonic() < end: pass\n"
        "claim.check(); claim.end()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "claim")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"taken\n"
    while process.poll() is None:
        assert take(tmp_path / "claim") is None or process.wait() == 0
        time.sleep(0.1)
    assert process.returncode == 0


def test_a_suspended_holder_is_taken_over_and_finds_out_when_it_wakes(tmp_path, quick):
    code = (
        "import sys, time; from pathlib import Path; from simclr.foundation import work\n"
        "work.SILENT_SECONDS, work.HEARTBEAT_SECONDS = 1.0, 0.2\n"
        "claim = work.take(Path(sys.argv[1])); print('taken', flush=True)\n"
        "sys.stdin.readline()\n"
        "try: claim.check()\n"
        "except work.ClaimLost: print('lost', flush=True)\n"
        "claim.tell(epoch=1); claim.end()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "claim")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"taken\n"
    process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    while (claim := take(tmp_path / "claim")) is None:
        assert time.monotonic() < begun + 30
        time.sleep(0.1)
    process.send_signal(signal.SIGCONT)
    assert process.communicate(b"\n", timeout=30)[0] == b"lost\n"
    claim.check()
    claim.end()


# File systems that lack things

REFUSING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>
int flock(int descriptor, int how) { errno = ENOLCK; return -1; }
int renameat2(int a, const char *b, int c, const char *d, unsigned e) { errno = EINVAL; return -1; }
long syscall(long number, ...) {
    long (*real)(long, ...) = dlsym(RTLD_NEXT, "syscall");
    if (number == SYS_renameat2) { errno = EINVAL; return -1; }
    va_list given;
    va_start(given, number);
    long a = va_arg(given, long), b = va_arg(given, long), c = va_arg(given, long);
    long d = va_arg(given, long), e = va_arg(given, long), f = va_arg(given, long);
    va_end(given);
    return real(number, a, b, c, d, e, f);
}
"""


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    """The environment of a process whose file systems know neither locks nor the exchange of names."""
    folder = tmp_path_factory.mktemp("refusing")
    (folder / "refusing.c").write_text(REFUSING)
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", "refusing.so", "refusing.c", "-ldl"], cwd=folder, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no C compiler")
    return {**os.environ, "LD_PRELOAD": str(folder / "refusing.so")}


LOCK = """
import fcntl, os, sys
try:
    fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
except OSError as error:
    print(error.errno)
"""
HOLD = """
import os, sys
from pathlib import Path
from simclr.foundation.work import take
take(Path(sys.argv[1]))
os._exit(9)
"""
TAKE_OVER = """
import sys, time
from pathlib import Path
from simclr.foundation.work import held
begun = time.monotonic()
with held(Path(sys.argv[1])):
    print(time.monotonic() - begun)
"""


def test_a_dead_holder_is_taken_over_on_any_file_system(tmp_path, refusing):
    def run(code: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(tmp_path / "claim")]
        return subprocess.run(command, env=refusing, capture_output=True, text=True, check=False)

    (tmp_path / "claim").mkdir()
    assert int(run(LOCK).stdout) == errno.ENOLCK
    assert run(HOLD).returncode == 9
    assert (tmp_path / "claim" / "1").exists()
    assert float(run(TAKE_OVER).stdout) < 2
