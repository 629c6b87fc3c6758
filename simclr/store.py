"""The pretrained networks: ``<root>/pretrained/<key>/`` with weights, history and configuration.

A pretraining is drafted in a hidden folder beside the others and put in place by rename when it is complete.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from simclr.config import Config

WEIGHTS = "network.weights.h5"


def folder(root: str | Path, key: str) -> Path:
    """Where the finished pretraining of a key lies."""
    return Path(root) / "pretrained" / key


@contextmanager
def new(root: str | Path, key: str) -> Iterator[Path]:
    """A draft folder for a pretraining, published under its key when the block ends well, else removed."""
    place = folder(root, key)
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{key}."))
    replaced = draft.with_name(f"{draft.name}.replaced")
    try:
        yield draft
        draft.chmod(0o755)
        if place.exists():
            place.rename(replaced)
        draft.rename(place)
    finally:
        # Only what is ours: another process may be drafting the same pretraining beside us.
        for left in (draft, replaced):
            shutil.rmtree(left, ignore_errors=True)


def save(draft: Path, network: Any, config: Config) -> None:
    """Write a finished network's weights (HDF5: nothing in it is executed on loading) and its configuration."""
    network.save_weights(draft / WEIGHTS)
    (draft / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(config)))
