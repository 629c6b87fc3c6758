"""The processes of one pretraining meet: who is missing is said, nobody waits for ever, and a signal is heard."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from simclr.foundation.errors import InvalidInput, RunFailed
from simclr.training import meeting
from simclr.training.cluster import cluster


def free(count: int) -> tuple[str, ...]:
    """Addresses at which nobody listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    for each in sockets:
        each.close()
    return addresses


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    monkeypatch.setattr(meeting, "PAUSE_SECONDS", 0.05)
    meeting.meet.cache_clear()


def test_all_go_on_once_all_have_come():
    addresses, servers = free(3), []

    def come(number: int) -> None:
        time.sleep(0.3 * number)
        meeting.meet.__wrapped__(addresses, number, 1.0)
        # As TensorFlow's server does it, from now on.
        servers.append(socket.create_server(("127.0.0.1", int(addresses[number].rpartition(":")[2]))))

    threads = [threading.Thread(target=come, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(servers) == 3
    for server in servers:
        server.close()


def test_whoever_is_missing_is_named_and_after_some_time_it_ends(monkeypatch, caplog):
    monkeypatch.setattr(meeting, "SAID_AFTER_SECONDS", 0.1)
    caplog.set_level("INFO")
    addresses = free(3)
    with socket.create_server(("127.0.0.1", int(addresses[1].rpartition(":")[2]))), pytest.raises(RunFailed) as caught:
        meeting.meet(addresses, 0, 0.01)
    assert str(caught.value) == (
        f"pretrain.workers_minutes=0.01: worker {addresses[2]} did not come; start all workers with the same command"
    )
    (said,) = [line.getMessage() for line in caplog.records]
    assert said == f"waiting for worker {addresses[2]}, 0.01 minutes at most"


def test_a_port_in_use_is_bad_input():
    (address,) = free(1)
    port = int(address.rpartition(":")[2])
    with (
        socket.create_server(("", port)),
        pytest.raises(InvalidInput, match=rf"port {port} of 127.0.0.1, this worker's"),
    ):
        meeting.meet((address,), 0, 1.0)


@pytest.mark.parametrize(
    ("workers", "says"),
    [
        (["one:12345", "two"], "'two' is no address; valid is host:port, say two:12345"),
        (["one:12345", "two:"], "'two:' is no address"),
        (["one:12345", ":80"], "':80' is no address"),
        (["one:12345", "two:99999"], "'two:99999' is no address"),
        (["one:12345", "one:12345"], "one:12345 is there twice"),
    ],
)
def test_addresses_are_looked_at_first(workers, says):
    told = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": 0}}
    with pytest.raises(InvalidInput) as caught:
        cluster("multi_worker", {"TF_CONFIG": json.dumps(told)})
    assert f"TF_CONFIG: {says}" in str(caught.value)


DEAF = """
import ctypes
from simclr.foundation.interruption import exit_when_asked
from simclr.training.meeting import end_when_asked
exit_when_asked()
end_when_asked()
print("waiting", flush=True)
lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)
lock(mutex)
lock(mutex)  # for ever, and without Python
"""
LISTENING = """
import time
from simclr.foundation.interruption import exit_when_asked
from simclr.training.meeting import end_when_asked
exit_when_asked()
end_when_asked()
print("waiting", flush=True)
try:
    time.sleep(60)
finally:
    time.sleep(6)
    print("saved", flush=True)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_process_that_does_not_hear_it(number, code):
    process = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"waiting\n"
    time.sleep(0.5)
    begun = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert time.monotonic() - begun < 5.5
    assert errors == b"error: stopped while waiting for the other workers\n"


def test_one_that_hears_it_has_all_the_time_that_it_needs():
    process = subprocess.Popen([sys.executable, "-c", LISTENING], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"waiting\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == b"saved\n"
    assert process.returncode == 143
