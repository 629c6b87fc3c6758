"""Locks that die with their holder."""

from __future__ import annotations

import errno
import fcntl
import os
import threading

import pytest

from simclr.foundation import lock


def test_a_lock_is_held_by_one_until_it_is_let_go(tmp_path):
    path = tmp_path / "lock"
    assert not lock.is_held(path)
    descriptor = lock.take(path)
    assert lock.is_held(path)
    assert lock.take(path) is None
    os.close(descriptor)
    assert not lock.is_held(path)
    with lock.held(path):
        assert lock.is_held(path)


def test_who_has_to_wait_for_a_lock_says_so_once_and_gets_it(tmp_path):
    path, said, inside = tmp_path / "new" / "lock", [], threading.Event()

    def second():
        with lock.held_where_possible(path, "waiting", said.append):
            inside.set()

    with lock.held_where_possible(path, "waiting", said.append):
        thread = threading.Thread(target=second)
        thread.start()
        assert not inside.wait(0.2)
    thread.join(10)
    assert inside.is_set()
    assert said == ["waiting"]


def failing(number):
    def refused(*_):
        raise OSError(number, os.strerror(number))

    return refused


def test_a_file_system_without_locks_is_no_obstacle_where_two_do_no_harm(monkeypatch, tmp_path):
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    with lock.held_where_possible(tmp_path / "lock", "waiting", print):
        pass


def test_a_disk_that_fails_is_one(monkeypatch, tmp_path):
    monkeypatch.setattr(fcntl, "flock", failing(errno.EIO))
    with (
        pytest.raises(OSError, match=os.strerror(errno.EIO)),
        lock.held_where_possible(tmp_path / "lock", "waiting", print),
    ):
        pass
