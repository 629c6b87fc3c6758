"""What a command shows on a terminal, which is more, and other, than what it writes into a file."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path


def shown(command: list[str], cwd: Path) -> bytes:
    """Everything that the command wrote to its error stream, a pseudo-terminal; it has to end well."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            seen += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return seen
