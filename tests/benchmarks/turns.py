"""Programs that are got ready side by side and then measured one at a time, each in a process that waits for its turn.

The other side is a process that prints ``ready NAME SECONDS`` for each of its programs (what it took to compile it),
then ``waiting``, and after that answers every line ``NAME`` with the seconds of a step.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping

Step = Callable[[], float]
"""Does a few steps and says the seconds of one."""


class Programs:
    """A process with programs: their names and what compiling each took, and a step's seconds on demand."""

    def __init__(self, command: list[str], environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.compiled: dict[str, float] = {}

    def wait(self) -> None:
        """Until every program is ready; called once.

        Raises:
            RuntimeError: the process ended before that.
        """
        while (line := self._line()) != "waiting":
            if line.startswith("ready "):
                _, name, seconds = line.split()
                self.compiled[name] = float(seconds)

    def step(self, name: str) -> float:
        """Seconds of a step of the program of that name."""
        self.begin(name)
        return self.end()

    def begin(self, name: str) -> None:
        """Let a program do its steps; several processes can be begun before one is ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()

    def end(self) -> float:
        """Wait for the steps that were begun: seconds of one."""
        return float(self._line())

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"ended before its turn: {self._process.args}")
        return line.strip()


def serve(programs: Iterable[tuple[str, Callable[[], tuple[float, Step]]]]) -> None:
    """The other side: get every program ready, say so, and answer lines until there are no more.

    Args:
        programs: names, and what gets one ready: seconds of compiling, and its steps.
    """
    ready: dict[str, Step] = {}
    for name, prepare in programs:
        seconds, ready[name] = prepare()
        print(f"ready {name} {seconds:.2f}", flush=True)
    print("waiting", flush=True)
    for line in sys.stdin:
        print(ready[line.strip()](), flush=True)
