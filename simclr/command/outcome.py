"""How a command ends: one line for what went wrong, and the code that a shell sees."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from simclr.foundation.errors import InvalidInput, one_line


@contextmanager
def shown_as_can_be() -> Iterator[None]:
    """Let nothing that is printed in the block fail for being printed.

    What an encoding does not have is shown as it can be, and what is printed goes nowhere once whoever read along has
    left: what was to be done is done all the same.
    """
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.stdout, sys.stderr = (cast("TextIO", _UntilNobodyReads(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


class _UntilNobodyReads:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._leave()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._leave()

    def _leave(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def exit_code(work: Callable[[], int]) -> int:
    """Do a command's work: what it returns, 2 for bad input, 1 for what cannot be written or read."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    with shown_as_can_be():
        try:
            return work()
        except InvalidInput as error:
            print(f"error: {one_line(error)}", file=sys.stderr)
            return 2
        except OSError as error:
            print(f"error: cannot write or read: {one_line(error)}", file=sys.stderr)
            return 1
