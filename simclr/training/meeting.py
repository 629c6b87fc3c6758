"""The processes of one pretraining meet here before TensorFlow has them meet, which waits in C++, deaf and mute."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from simclr.foundation.errors import InvalidInput, RunFailed
from simclr.foundation.interruption import TERMINATED, is_pending

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5
SAID_AFTER_SECONDS = 20.0
"""Waiting for longer is said."""
PATIENCE_SECONDS = 4.0
"""So long a signal may take until Python hears of it."""


@cache
def meet(addresses: tuple[str, ...], own: int, minutes: float) -> None:
    """Wait until each process listens at its address, or has gone on to TensorFlow, which then does.

    Args:
        addresses: of all, ``host:port``.
        own: which one is this process's.
        minutes: to wait at most.

    Raises:
        InvalidInput: this process's port is in use.
        RunFailed: one has not come.
    """
    begun, said = time.monotonic(), False
    host, port = _parts(addresses[own])
    try:
        listening = socket.create_server(("", port))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise InvalidInput(
            f"TF_CONFIG: port {port} of {host}, this worker's, cannot be used ({error.strerror}); valid is a free one"
        ) from error
    with listening:
        missing = [address for number, address in enumerate(addresses) if number != own]
        while missing := [address for address in missing if not _listens(address)]:
            waited = time.monotonic() - begun
            if waited > 60 * minutes:
                raise RunFailed(
                    f"pretrain.workers_minutes={minutes:g}: {_named(missing)} did not come; "
                    "start all workers with the same command"
                )
            if waited > SAID_AFTER_SECONDS and not said:
                log.info("waiting for %s, %g minutes at most", _named(missing), minutes)
                said = True
            time.sleep(PAUSE_SECONDS)


def _named(addresses: Sequence[str]) -> str:
    return f"{'worker' if len(addresses) == 1 else 'workers'} {', '.join(addresses)}"


def _listens(address: str) -> bool:
    try:
        with socket.create_connection(_parts(address), timeout=1):
            return True
    except OSError:
        return False


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


@cache
def end_when_asked() -> None:
    """Make a signal end this process where Python does not hear it, as TensorFlow waits for others in C++.

    A thread is told of signals by the system itself. Where the main thread has not acted on one within some seconds,
    the process ends at once: the files that it was at are whole or hidden, and its claims are those of a dead process.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    heard = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _marking(heard, signal.getsignal(number)))
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def watch() -> None:
        while True:
            number = os.read(reading, 1)[0]
            if number not in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
                continue
            if not heard.wait(PATIENCE_SECONDS) and not is_pending():
                os.write(2, b"error: stopped while waiting for the other workers\n")
                os._exit(130 if number == signal.SIGINT else TERMINATED)

    threading.Thread(target=watch, name="signals", daemon=True).start()


def _marking(heard: threading.Event, handler: Any) -> Callable[[int, Any], None]:
    def handle(number: int, frame: Any) -> None:
        heard.set()
        if callable(handler):
            handler(number, frame)
        elif handler is signal.SIG_DFL:
            raise SystemExit(TERMINATED)

    return handle
