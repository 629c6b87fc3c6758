"""A process beside a cell's own that draws its pictures.

To import what draws, to lay out a t-SNE and to draw takes almost as long as all else that a further cell of a finished
pretraining does; in a process of its own it takes a processor that would be idle.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from simclr.foundation.errors import one_line

SIZE = struct.Struct("<Q")
FACTS = "facts as JSON"
START = "from simclr.tracking.studio import serve; serve()"
FUNCTIONS = ("loss_curve", "confusion", "scatter", "view_grid")


@dataclass(frozen=True)
class Drawing:
    """A picture to be drawn.

    Attributes:
        function: of :mod:`simclr.tracking.pictures`, one of ``FUNCTIONS``.
        arrays: what of its arguments are arrays.
        facts: the others, which JSON can say.
    """

    function: str
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Studio:
    """Draws elsewhere, while the work here goes on: ask with :meth:`draw`, and at the end :meth:`collect`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0
        self._pictures: dict[str, NDArray[np.uint8]] = {}
        self._errors: dict[str, str] = {}

    def open(self) -> None:
        """Start the process, which imports what it needs before it is asked for anything.

        Raises:
            OSError: there can be no further process.
        """
        if self._process is not None:
            return
        package = str(Path(__file__).parents[2])
        path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the cell, whose end is this process's end
        )

    def draw(self, drawings: Mapping[str, Drawing]) -> None:
        """Ask for pictures, by name; :meth:`collect` waits for them, and this for those asked for before.

        Raises:
            EOFError, OSError: the process cannot be started, or it is no more.
        """
        self._receive()
        self.open()
        assert self._process is not None
        assert self._process.stdin is not None
        asked = {name: [drawing.function, dict(drawing.facts)] for name, drawing in drawings.items()}
        arrays = {f"{name}/{each}": array for name, one in drawings.items() for each, array in one.arrays.items()}
        _send(self._process.stdin, asked, arrays)
        self._asked += 1

    def collect(self) -> tuple[dict[str, NDArray[np.uint8]], dict[str, str]]:
        """All that was asked for since the last call: pictures (H, W, 3), and of those that failed the reasons.

        Raises:
            EOFError: the process is no more.
        """
        self._receive()
        collected = self._pictures, self._errors
        self._pictures, self._errors = {}, {}
        return collected

    def close(self) -> None:
        """End the process, whatever it is at."""
        process, self._process, self._asked = self._process, None, 0
        if process is not None:
            process.kill()
            with contextlib.suppress(OSError), process:  # which closes its pipes and waits
                pass

    def _receive(self) -> None:
        while self._asked:
            assert self._process is not None
            assert self._process.stdout is not None
            received = _receive(self._process.stdout)
            if received is None:
                raise EOFError("the process that draws is no more")
            self._asked -= 1
            self._errors.update(received[0])
            self._pictures.update(received[1])


def serve() -> None:
    """Draw what is asked for on standard input until that ends; pictures go to standard output."""
    threading.Thread(target=_import_what_draws, daemon=True).start()
    while (received := _receive(sys.stdin.buffer)) is not None:
        asked, arrays = received
        drawn, errors = {}, {}
        for name, (function, facts) in asked.items():
            given = {key.rpartition("/")[2]: array for key, array in arrays.items() if key.rpartition("/")[0] == name}
            try:
                drawn[name] = _draw(function, {**facts, **given})
            except Exception as error:
                errors[name] = one_line(error)
        _send(sys.stdout.buffer, errors, drawn)


def _draw(function: str, given: Mapping[str, Any]) -> NDArray[np.uint8]:
    from simclr.tracking import pictures

    if function not in FUNCTIONS:
        raise ValueError(f"{function}: there is no such picture")
    drawn: NDArray[np.uint8] = getattr(pictures, function)(**given)
    return drawn


def _import_what_draws() -> None:
    for name in ("sklearn.manifold", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        importlib.import_module(name)


def _send(pipe: IO[bytes], facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    buffer = io.BytesIO()
    said = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    np.savez(buffer, **{FACTS: said, **arrays})  # type: ignore[arg-type]
    content = buffer.getbuffer()
    pipe.write(SIZE.pack(len(content)))
    pipe.write(content)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
    """What was sent, None where nothing is to come any more."""
    header = pipe.read(SIZE.size)
    content = pipe.read(*SIZE.unpack(header)) if len(header) == SIZE.size else b""
    if not content:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
        arrays = dict(loaded)
    return json.loads(arrays.pop(FACTS).tobytes()), arrays
