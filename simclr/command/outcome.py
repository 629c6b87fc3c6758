"""How a command ends: one line for what went wrong, and the code that a shell sees."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from simclr.foundation.errors import InvalidInput, one_line


def exit_code(work: Callable[[], int]) -> int:
    """Do a command's work: what it returns, 2 for bad input, 1 for what cannot be written or read."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        return work()
    except InvalidInput as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot write or read: {one_line(error)}", file=sys.stderr)
        return 1
