"""How long anyone waits for W&B."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from simclr.foundation.errors import one_line

Value = TypeVar("Value")


class Patience:
    """How long, in seconds, W&B is waited for in vain: one budget, from which every wait of a process takes its time.

    Only waiting that ended badly is taken from it: for a call that failed or was given up. A slow server is waited for
    as often as it takes, and for as long as more of a transfer arrives; one that fails costs no more than the budget,
    at whichever calls, and in however many runs of the process. Once it is spent, nothing is waited for.

    Two thirds of it no server is waited for before the end of a run, when the client sends what it has not sent, and
    writes down what it could not send. The client's own process, which is here, may take half of what is left at once.

    Attributes:
        left: of the budget.
    """

    def __init__(self, seconds: float = 40.0) -> None:
        self._seconds = self.left = seconds

    @property
    def spare(self) -> float:
        """How long a server may be waited for before a run's end."""
        return max(0.0, self.left - self._seconds * 2 / 3)

    @property
    def sending(self) -> float:
        """How long the client may send at a run's end.

        It is told when the run begins. It needs time after that to close its file, without which nothing of what it has
        not sent could be sent later, and the next run of this process needs some to be kept offline.
        """
        return self._seconds * 3 / 8

    def lose(self, seconds: float) -> None:
        """So long was waited in vain."""
        self.left = max(0.0, self.left - seconds)

    def wait(
        self,
        seconds: float,
        act: Callable[[], Value],
        progress: Callable[[], int] | None = None,
    ) -> Value:
        """What a call returns or raises, unless it takes longer.

        Args:
            seconds: how long it may take, of what is left.
            act: called in another thread, unless nothing may be waited for.
            progress: of the call; whenever there is more of it than ever, the call has as long again.

        Raises:
            TimeoutError: it does. It is left behind in its thread, which keeps no process alive.
        """
        if seconds <= 0:
            raise TimeoutError(
                f"W&B has failed for {self._seconds - self.left:.0f} s, so it is not waited for any more"
            )
        ended: dict[str, Any] = {}

        def run() -> None:
            try:
                ended["value"] = act()
            except BaseException as error:
                ended["error"] = error

        thread = threading.Thread(target=run, name="wandb call", daemon=True)
        begun, seen = time.monotonic(), progress() if progress else 0
        thread.start()
        while thread.is_alive() and (waited := time.monotonic() - begun) < seconds:
            thread.join(min(seconds - waited, 1.0) if progress else seconds)
            if progress and thread.is_alive() and (now := progress()) > seen:
                begun, seen = time.monotonic(), now
        if "value" in ended:
            return ended["value"]
        self.lose(time.monotonic() - begun)
        if "error" not in ended:
            raise TimeoutError(f"no answer within {seconds:.0f} s")
        error = ended["error"]
        raise error if isinstance(error, Exception) else RuntimeError(one_line(error))
