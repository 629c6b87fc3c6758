"""A signal waits until what is under way has been saved; a second one does not."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from simclr.foundation.interruption import TERMINATED, Pending, ask_to_stop, deferred, exit_when_asked

SIGNALS = {"SIGINT": KeyboardInterrupt, "SIGTERM": SystemExit, "SIGUSR1": SystemExit}
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGUSR1": 143}

every_signal = pytest.mark.parametrize("name", SIGNALS)


def send(name: str) -> None:
    signal.raise_signal(getattr(signal, name))


@pytest.fixture(autouse=True)
def handlers():
    """What handles each signal, which no test here may change for those after it."""
    before = {name: signal.getsignal(getattr(signal, name)) for name in SIGNALS}
    yield before
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


@every_signal
def test_a_signal_is_noted_and_the_block_runs_on(name):
    reached = False
    with pytest.raises(SIGNALS[name]), deferred() as pending:
        assert pending.signal is None
        send(name)
        assert pending.signal == getattr(signal, name)
        reached = True
    assert reached


@every_signal
def test_a_signal_that_came_too_late_for_the_block_takes_effect_at_its_end(name):
    after = False
    with pytest.raises(SIGNALS[name]) as caught:
        with deferred():
            send(name)
        after = True
    assert not after
    assert name == "SIGINT" or caught.value.code == TERMINATED


@every_signal
def test_the_block_can_stop_itself_once_it_has_saved(name):
    done = []
    with pytest.raises(SIGNALS[name]), deferred() as pending:
        send(name)
        done.append("saved")
        pending.stop()
        done.append("not reached")
    assert done == ["saved"]


@pytest.mark.parametrize("second", SIGNALS)
@pytest.mark.parametrize("first", SIGNALS)
def test_a_second_signal_ends_the_block_at_once_whichever_it_is(first, second):
    done = []
    with pytest.raises(SIGNALS[second]), deferred():
        send(first)
        done.append("went on")
        send(second)
        done.append("not reached")
    assert done == ["went on"]


@every_signal
def test_one_that_the_process_sends_itself_is_no_second_one_though_the_first_was_not_heard_yet(name):
    """As when Ctrl-C comes in the middle of a long step, and the grid says to stop before the step is done."""
    both, done = {getattr(signal, name), signal.SIGTERM}, []
    with pytest.raises(SIGNALS[name]), deferred() as pending:
        signal.pthread_sigmask(signal.SIG_BLOCK, both)
        try:
            send(name)
            ask_to_stop()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
        done.append(signal.Signals(pending.signal).name)
    assert done == [name]


def test_after_it_another_signal_is_a_second_one():
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():
        ask_to_stop()
        done.append("went on")
        send("SIGINT")
        done.append("not reached")
    assert done == ["went on"]


def test_without_a_signal_nothing_happens():
    with deferred() as pending:
        pass
    assert pending.signal is None


@pytest.mark.parametrize("sent", [None, "SIGTERM"])
def test_what_handled_the_signals_before_does_so_again(handlers, sent):
    try:
        with deferred():
            for name, before in handlers.items():
                assert signal.getsignal(getattr(signal, name)) != before
            if sent:
                send(sent)
    except SystemExit:
        assert sent
    assert {name: signal.getsignal(getattr(signal, name)) for name in SIGNALS} == handlers


def test_the_handlers_are_back_after_an_error_too_which_is_not_replaced_by_the_signal(handlers):
    with pytest.raises(ValueError, match="the disk is full"), deferred():
        send("SIGTERM")
        raise ValueError("the disk is full")
    assert {name: signal.getsignal(getattr(signal, name)) for name in SIGNALS} == handlers


def test_one_block_after_another_starts_with_nothing_noted():
    with pytest.raises(SystemExit), deferred():
        send("SIGTERM")
    with deferred() as pending:
        assert pending.signal is None


def test_outside_the_main_thread_the_block_runs_and_no_handler_is_touched(handlers):
    found = []

    def block() -> None:
        with deferred() as pending:
            found.append(pending.signal)
            found.append({name: signal.getsignal(getattr(signal, name)) for name in SIGNALS} == handlers)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert found == [None, True]


def test_stopping_for_ctrl_c_is_a_keyboard_interrupt_and_for_another_signal_an_exit_code():
    pending = Pending()
    pending.signal = signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        pending.stop()
    pending.signal = signal.SIGTERM
    with pytest.raises(SystemExit) as caught:
        pending.stop()
    assert caught.value.code == TERMINATED == 143


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_process_that_exits_when_asked_closes_what_is_open(name):
    exit_when_asked()
    closed = []
    with pytest.raises(SystemExit) as caught:
        try:
            send(name)
        finally:
            closed.append(True)
    assert caught.value.code == 143
    assert closed == [True]


PROCESS = """
import os, signal, sys
from simclr.foundation.interruption import deferred, exit_when_asked
exit_when_asked()
with deferred() as pending:
    print("ready", flush=True)
    while pending.signal is None:
        signal.pause()
    print("saved", flush=True)
    if {late}:
        print("end", flush=True)
    else:
        pending.stop()
print("not reached", flush=True)
"""


@pytest.mark.parametrize("late", [False, True], ids=["stops", "ends"])
@every_signal
def test_a_process_saves_and_ends_with_the_signals_code(name, late):
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS.format(late=late)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, name))
    out, _ = process.communicate(timeout=60)
    assert out == ("saved\nend\n" if late else "saved\n")
    # Python itself ends a process by the signal after an uncaught KeyboardInterrupt; a shell tells that as 130.
    assert process.returncode in (CODES[name], -signal.SIGINT if name == "SIGINT" else CODES[name])


ORPHAN = """
import os, time
from simclr.foundation.interruption import exit_when_asked, stop_when_orphaned
if os.fork():
    time.sleep(0.5)
    os._exit(0)
exit_when_asked()
stop_when_orphaned(0.05)
try:
    time.sleep(60)
except SystemExit as end:
    print(end.code)
"""


def test_a_process_whose_parent_is_gone_stops():
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == f"{TERMINATED}\n"
