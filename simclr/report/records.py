"""What lies under a root: cells that finished, and everything else, named with the reason why it does not count."""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from omegaconf import MISSING

from simclr.config import Config, settings
from simclr.foundation import work
from simclr.foundation.errors import one_line
from simclr.records import result

LARGEST_TEXT = 16 * 2**20
"""A record or a configuration of more bytes than this is no file of ours."""

STATES = ("finished", "running", "unprobed", "unfinished", "failed", "skipped", "corrupt", "foreign")


@dataclass(frozen=True)
class LeftOut:
    """Something under the root that gives no number: what it is, where, and why."""

    state: str
    name: str
    reason: str


@dataclass(frozen=True)
class CellRecord:
    """A finished cell: its record, its configuration under dotted keys, and where its files are."""

    name: str
    folder: Path
    record: dict[str, Any]
    settings: dict[str, Any]

    def get(self, path: str, default: Any = None) -> Any:
        """A field of the record by its dotted name, the default where it or one above it is missing."""
        return reach(self.record, path, default)

    @property
    def head(self) -> str:
        return str(self.get("cell.head"))

    @property
    def layer(self) -> str:
        return str(self.get("cell.layer.name"))

    @property
    def seed(self) -> int:
        return int(self.get("cell.seed", 0))

    @property
    def key(self) -> str:
        return str(self.get("pretraining.key", ""))

    @cached_property
    def predictions(self) -> dict[str, NDArray[Any]]:
        """The class given to each test image, (S, n) by representation, and ``labels`` (n,); empty if unreadable."""
        try:
            with np.load(self.folder / "predictions.npz", allow_pickle=False) as file:
                found = {name: file[name] for name in ("trained", "untrained", "pixels", "labels")}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, MemoryError):
            return {}
        labels, trained = found["labels"], found["trained"]
        fits = (
            all(np.issubdtype(each.dtype, np.integer) for each in found.values())
            and labels.ndim == 1
            and trained.ndim == 2
            and trained.size > 0
            and trained.shape[1] == labels.size
            and trained.shape == found["untrained"].shape == found["pixels"].shape
        )
        return found if fits else {}


@dataclass(frozen=True)
class Findings:
    """Everything that was found under a root."""

    root: Path
    cells: tuple[CellRecord, ...]
    left_out: tuple[LeftOut, ...]

    def count(self) -> dict[str, int]:
        """How many there are in each state, the finished first; states that do not occur are left out."""
        counts = Counter({"finished": len(self.cells)}) + Counter(each.state for each in self.left_out)
        return {state: counts[state] for state in STATES if counts[state] or state == "finished"}


def reach(record: Any, path: str, default: Any = None) -> Any:
    """What lies at a dotted path in nested dictionaries.

    >>> reach({"cell": {"seed": 3}}, "cell.seed"), reach({"cell": None}, "cell.seed", 0)
    (3, 0)
    """
    for part in path.split("."):
        if not isinstance(record, dict) or record.get(part) is None:
            return default
        record = record[part]
    return record


def read(root: str | Path) -> Findings:
    """Read every record under a root; nothing that lies there is fatal.

    Args:
        root: as given to the runs.

    Returns:
        The finished cells by name, and what else is there with its reason.
    """
    root = Path(root)
    found = [_read_entry(entry) for entry in _entries(root / "results")]
    cells = tuple(each for each in found if isinstance(each, CellRecord))
    left_out = [each for each in found if isinstance(each, LeftOut)]
    return Findings(root, cells, (*left_out, *_unfinished_pretrainings(root)))


def cell_of(root: str | Path, name: str) -> CellRecord | None:
    """One finished cell; None where there is none, or nothing that can be read."""
    found = _read_entry(result.folder(root, name))
    return found if isinstance(found, CellRecord) else None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _read_entry(entry: Path) -> CellRecord | LeftOut | None:
    if entry.name.startswith("."):
        return None
    if not entry.is_dir():
        return LeftOut("foreign", entry.name, "not the folder of a cell")
    try:
        record = json.loads(_text(entry / "result.json"))
    except FileNotFoundError:
        if (words := work.words(entry)) and words[0].alive:
            facts = words[0].facts
            epoch, doing = facts.get("epoch"), str(facts.get("doing", "starting"))
            at = f"epoch {epoch} of {facts.get('epochs')}" if epoch and doing == "pretraining" else doing
            return LeftOut("running", entry.name, f"{at}, by {words[0].who}")
        begun = (entry / "config.yaml").exists() or bool(words)
        state, reason = ("unfinished", "no result.json yet") if begun else ("foreign", "a folder without result.json")
        return LeftOut(state, entry.name, reason)
    except (OSError, ValueError, RecursionError) as error:
        return LeftOut("corrupt", entry.name, f"result.json: {one_line(error)[:120]}")
    return _judge(entry, record)


def _judge(entry: Path, record: Any) -> CellRecord | LeftOut:
    if (
        not isinstance(record, dict)
        or record.get("schema") != result.SCHEMA
        or not isinstance(record.get("cell"), dict)
    ):
        return LeftOut("foreign", entry.name, f"result.json is no record of schema {result.SCHEMA}")
    status = record.get("status")
    if status in ("failed", "skipped"):
        return LeftOut(str(status), entry.name, str(record.get("error") or "no reason recorded"))
    if status != "finished":
        return LeftOut("unfinished", entry.name, f"status {status}")
    if reach(record, "cell.probe") == "none":
        return LeftOut("unprobed", entry.name, _described(record))
    if missing := _missing(record):
        return LeftOut("corrupt", entry.name, f"result.json: {missing} is missing or not what it should be")
    return CellRecord(entry.name, entry, record, _settings(entry / "config.yaml", record))


def _described(record: dict[str, Any]) -> str:
    """What is known of a network that was pretrained without a probe."""
    measures = reach(record, "representation", {})
    known = [f"{name.replace('_', ' ')} {value:.3g}" for name, value in measures.items() if value is not None]
    return f"pretrained without a probe (probe=none): {', '.join(known) or 'nothing known of it'}"


def _missing(record: dict[str, Any]) -> str | None:
    """The first field that a finished record must have and does not."""
    shares = dict.fromkeys(("cell.label_fraction", "probe.test_accuracy.mean"), (int, float))
    others: dict[str, Any] = {"cell.data": str, "cell.head": str, "cell.layer.name": str, "cell.seed": int}
    for path, kind in {**others, **shares}.items():
        value = reach(record, path)
        if not isinstance(value, kind) or (path in shares and not 0 <= value <= 1):
            return path
    return None


def _settings(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """The configuration beside a record, or as much of it as the record itself tells."""
    try:
        text = _text(path)
        # No configuration of ours has aliases; with them a short file can be endless.
        loaded = None if _ALIAS.search(text) else yaml.load(text, Loader=_Loader)  # noqa: S506 (a safe loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        loaded = None
    if isinstance(loaded, dict):
        return {**_defaults(), **dict(flat(loaded))}
    cell = record["cell"]
    return {
        **{f"{part}.name": cell.get(part) for part in ("data", "encoder", "head", "probe")},
        "probe.layer": cell["layer"]["name"],
        "probe.label_fraction": cell.get("label_fraction"),
        "pretrain.epochs": reach(record, "pretraining.epochs"),
        "seed": cell.get("seed"),
    }


_ALIAS = re.compile(r"(?:^|[\s\[{,:-])\*\w", re.MULTILINE)
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def _defaults() -> dict[str, Any]:
    """The schema's own values: what was done before there were these settings, and by cells recorded then."""
    return {key: value for key, _, value in settings(Config()) if value != MISSING}


def flat(nested: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings under dotted keys.

    >>> dict(flat({"head": {"name": "none"}, "seed": 0}))
    {'head.name': 'none', 'seed': 0}
    """
    for key, value in nested.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(path: Path) -> str:
    if path.stat().st_size > LARGEST_TEXT:
        raise ValueError(f"{path.stat().st_size:,} bytes")
    return path.read_text(encoding="utf-8")


def _unfinished_pretrainings(root: Path) -> list[LeftOut]:
    """Drafts: folders of ``pretrained`` that are hidden, or that have a history and no weights yet."""
    found = []
    for entry in _entries(root / "pretrained"):
        if not entry.is_dir():
            continue
        if entry.name.startswith(".") and (entry / "history.csv").exists():
            found.append(LeftOut("unfinished", entry.name, "a pretraining under way, or killed"))
        elif not entry.name.startswith(".") and any(entry.glob("checkpoint*")) and not any(entry.glob("*.weights.h5")):
            found.append(LeftOut("unfinished", entry.name, "a pretraining with a checkpoint and no final weights"))
    return found
