"""The record of a cell: ``runs/results/<cell>/result.json``, one per finished, skipped or failed cell."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simclr.foundation.files import make_folder, remove_stale, write_whole

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SCHEMA = 1
PREDICTIONS, CONFUSION = "predictions.npz", "confusion.npz"

Arrays = Mapping[str, Mapping[str, NDArray[Any]]]
"""Arrays by name, by the name of the file that they are in."""


def folder(root: str | Path, cell: str) -> Path:
    """Where a cell's record lies."""
    return Path(root) / "results" / cell


def blank(coordinates: Mapping[str, Any]) -> dict[str, Any]:
    """A record of the cell that :func:`simclr.config.cell.coordinates` tell, with nothing measured yet.

    ``status`` and times are still to be set.
    """
    parts = ("pretraining", "probe", "baselines", "representation")
    return {"schema": SCHEMA, "status": None, "error": None, "cell": coordinates, **dict.fromkeys(parts)}


def write(
    root: str | Path, cell: str, record: Mapping[str, Any], configuration: str, arrays: Arrays | None = None
) -> Path:
    """Write a cell's configuration, arrays and, last, its record, each whole or not at all.

    Args:
        root: everything written lands below it.
        cell: the cell's name.
        record: as in the schema; a number that is not finite becomes null.
        configuration: in full and as YAML, which ``run.py --config-dir <folder>`` runs again.
        arrays: kept beside the record, by the name of their file.

    Returns:
        The path of ``result.json``.
    """
    directory = folder(root, cell)
    make_folder(directory)
    remove_stale(directory)
    write_whole(directory / "config.yaml", configuration.encode())
    for file, named in (arrays or {}).items():
        packed = BytesIO()
        np.savez_compressed(packed, **named)  # type: ignore[arg-type]
        write_whole(directory / file, packed.getvalue())
    path = directory / "result.json"
    write_whole(path, (json.dumps(_finite(record), indent=1, allow_nan=False) + "\n").encode())
    return path


def load(root: str | Path) -> pd.DataFrame:
    """Every record below ``root``, one row per cell, nested fields under dotted names (``probe.test_accuracy.mean``).

    Args:
        root: as given to the runs. A file that is no record of this schema is named in the log and left out.

    Returns:
        A tidy frame, ``name`` (the cell's) first; empty where there is no record.
    """
    import pandas as pd

    rows = [{"name": path.parent.name, **record} for path, record in records(root)]
    return pd.json_normalize(rows) if rows else pd.DataFrame({"name": pd.Series(dtype=str)})


def records(root: str | Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every record below ``root`` with the path of its file, by name; what is no record is named in the log."""
    for path in sorted(Path(root).glob("results/*/result.json")):
        try:
            record = json.loads(path.read_text())
            if record["schema"] != SCHEMA:
                raise ValueError(f"schema {record['schema']}, not {SCHEMA}")
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s is left out: %s", path, error or type(error).__name__)
            continue
        yield path, record


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value
