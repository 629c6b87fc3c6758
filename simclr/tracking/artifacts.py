"""What outlives a run in W&B: the images by reference, and pretrained networks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simclr.tracking.client import reason

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)


def pretraining_name(key: str) -> str:
    """The artifact in which a pretraining's network is kept."""
    return f"pretrained-{key}"


def of_data(name: str, digest: str, reference: str, metadata: Mapping[str, Any]) -> wandb.Artifact:
    """The images: where they are from, and the digest of their content."""
    import wandb

    artifact = wandb.Artifact(name, "dataset", metadata={"digest": digest, **metadata})
    # A reference is known by its address; its name makes another content another version.
    artifact.add_reference(reference, name=f"images-{digest[:16]}", checksum=False)
    return artifact


def of_pretraining(key: str, folder: Path, metadata: Mapping[str, Any]) -> wandb.Artifact:
    """A finished pretraining's plain files; what is hidden is not a part of it."""
    import wandb

    artifact = wandb.Artifact(pretraining_name(key), "pretraining", metadata={"key": key, **metadata})
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            artifact.add_file(str(path), name=path.name, skip_cache=True)
    return artifact


def use(run: wandb.Run, path: str) -> wandb.Artifact | None:
    """Declare an artifact as the run's input; one that is not there is no failure of the server's."""
    try:
        return run.use_artifact(path)
    except Exception as error:
        if "not found" in str(error):
            log.debug("W&B: %s", reason(error))
            return None
        raise


def download(artifact: wandb.Artifact, folder: Path) -> list[str]:
    """Download an artifact of plain files and check each one; their names, none where it is not what it says."""
    for name, entry in artifact.manifest.entries.items():
        # What is in a manifest is for whoever can write to the project to say.
        if Path(name).name != name or name.startswith(".") or "\\" in name or entry.ref is not None:
            log.warning("W&B: %s is refused: %r is no plain file", artifact.name, name)
            return []
    try:
        artifact.download(root=str(folder), skip_cache=True)
        artifact.verify(root=str(folder))
    except ValueError as error:
        log.warning("W&B: %s is refused: %s", artifact.name, reason(error))
        return []
    return list(artifact.manifest.entries)


def bytes_in(folder: Path) -> int:
    """How much has arrived."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
