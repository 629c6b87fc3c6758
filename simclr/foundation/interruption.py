"""Stopping in an orderly way: a signal waits until what is under way has been saved."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

TERMINATED = 143

_SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Pending:
    """The signal that has come while signals are deferred, if one has."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.asked = False  # this process has asked itself to stop meanwhile
        self._handlers: dict[int, Any] = {}

    def stop(self) -> NoReturn:
        """End what runs, now that it has been saved, as the signal would have done without the delay.

        Raises:
            KeyboardInterrupt: for Ctrl-C.
            SystemExit: with code 143 for any other, unless a handler was installed for it, which is called.
        """
        handler = self._handlers.get(self.signal or 0)
        if callable(handler):
            handler(self.signal, None)
        _stop(self.signal)


_open: list[Pending] = []
"""Of the blocks that this process is in, the outermost first."""


@contextmanager
def deferred() -> Iterator[Pending]:
    """Let signals that ask to stop only be noted while the block runs; a second one takes effect at once.

    They are Ctrl-C, SIGTERM, SIGUSR1 (Slurm's warning) and, where somebody handles it, SIGUSR2 (submitit's). The block
    looks at ``pending.signal`` where it can stop, saves, and calls ``pending.stop()``. One that came too late for that
    takes effect at the end of the block. What :func:`ask_to_stop` sends is never a second one. Outside the main thread,
    which alone may handle signals, the block runs as it would without this.
    """
    pending = Pending()
    if threading.current_thread() is not threading.main_thread():
        yield pending
        return

    def note(number: int, _: object) -> None:
        if pending.signal is not None and number == signal.SIGTERM and pending.asked:
            return
        again, pending.signal = pending.signal is not None, number
        if again:
            pending.stop()

    for number in _SIGNALS:
        if number != signal.SIGUSR2 or callable(signal.getsignal(number)):
            pending._handlers[number] = signal.signal(number, note)
    _open.append(pending)
    try:
        yield pending
    finally:
        _open.remove(pending)
        for number, handler in pending._handlers.items():
            signal.signal(number, handler)
    if pending.signal is not None:
        pending.stop()


def exit_when_asked(*, anew: bool = True) -> None:
    """Make SIGTERM and SIGUSR1 end this process by ``SystemExit`` with code 143, so that what is open is closed.

    Unless ``anew``, only where nothing handles them yet.
    """
    for number in (signal.SIGTERM, signal.SIGUSR1):
        if anew or signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda number, _: _stop(number))


@contextmanager
def at_once() -> Iterator[None]:
    """Let a signal that asks to stop take effect inside a block in which it would only be noted, see :func:`deferred`.

    What was noted before the block takes effect at its beginning.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for pending in _open:
        if pending.signal is not None:
            pending.stop()
    noting = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in noting:
        if number != signal.SIGUSR2:
            signal.signal(number, lambda number, _: _stop(number))
    try:
        yield
    finally:
        for number, handler in noting.items():
            signal.signal(number, handler)


def ask_to_stop() -> None:
    """Ask this process to stop as SIGTERM would, from any of its threads, unless it is about to stop already.

    It may be so without knowing: a signal that has come is noted only once the main thread is back from a long call.
    """
    if not is_pending():
        for pending in _open:
            pending.asked = True
        # The main thread is to act on it, also where it sleeps or waits, and wakes up for a signal of its own only.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def stop_when_orphaned(pause: float = 1.0) -> None:
    """Ask this process to stop once the one that started it, looked for every ``pause`` seconds, is gone."""
    parent = os.getppid()

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(pause)
        ask_to_stop()

    threading.Thread(target=look, name="parent", daemon=True).start()


def is_pending() -> bool:
    """Whether a signal that asks to stop has come and waits for what is under way."""
    return any(pending.signal is not None for pending in _open)


def _stop(number: int | None) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(TERMINATED)
