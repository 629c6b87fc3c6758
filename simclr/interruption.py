"""Stopping in an orderly way: a signal waits until what is under way has been saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

TERMINATED = 143

_ASKED_TO_STOP = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class Pending:
    """The signal that has come while signals are deferred, if one has."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def stop(self) -> NoReturn:
        """End what runs, now that it has been saved, as the signal would have done.

        Raises:
            KeyboardInterrupt: for Ctrl-C.
            SystemExit: with code 143 for any other.
        """
        _stop(self.signal)


@contextmanager
def deferred() -> Iterator[Pending]:
    """Let Ctrl-C, SIGTERM and SIGUSR1 (Slurm's warning) only be noted while the block runs; a second one ends it.

    The block looks at ``pending.signal`` where it can stop, saves, and calls ``pending.stop()``. One that came too late
    for that takes effect at the end of the block. Outside the main thread, which alone may handle signals, the block
    runs as it would without this.
    """
    pending = Pending()
    if threading.current_thread() is not threading.main_thread():
        yield pending
        return

    def note(number: int, _: object) -> None:
        if pending.signal is not None:
            _stop(number)
        pending.signal = number

    before: dict[Any, Any] = {each: signal.signal(each, note) for each in _ASKED_TO_STOP}
    try:
        yield pending
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if pending.signal is not None:
        pending.stop()


def exit_when_asked() -> None:
    """Make SIGTERM and SIGUSR1 end this process by ``SystemExit`` with code 143, so that what is open is closed."""
    for each in _ASKED_TO_STOP:
        if each is not signal.SIGINT:
            signal.signal(each, lambda number, _: _stop(number))


def _stop(number: int | None) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(TERMINATED)
