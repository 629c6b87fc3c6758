"""The three ways in which a file of the store is damaged: removed, cut short, one bit of it another."""

from __future__ import annotations

from pathlib import Path


def damage(path: Path, kind: str, at: int | None = None) -> None:
    """Remove, truncate or flip one bit of a file: of the byte ``at``, the one in the middle if that is not given."""
    content = path.read_bytes()
    if kind == "removed":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        position = len(content) // 2 if at is None else at
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
