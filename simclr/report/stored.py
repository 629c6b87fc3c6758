"""Stored features of a pretraining, ``pretrained/<key>/features/<view>/trained-<layer>/``, where there are any.

They make two pictures: the spectrum of singular values (dimensional collapse: Jing, Vincent, LeCun and Tian 2022,
arXiv 2110.09348) and the map of test images (t-SNE: van der Maaten and Hinton 2008).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simclr.report.records import CellRecord, reach

Features = NDArray[np.float32]
Positions = NDArray[np.intp]

MOST_IMAGES = 2000
"""Of a spectrum: more change nothing that can be seen."""


def view_folder(root: Path, cell: CellRecord) -> Path | None:
    """Where the features of a cell's pretraining lie, as the cell's probe looks at images if there are such."""
    folder = root / "pretrained" / cell.key / "features"
    try:
        views = sorted(entry for entry in folder.iterdir() if any(entry.glob("trained-*/manifest.json")))
    except OSError:
        return None
    size = cell.settings.get("probe.image_size")
    asked = cell.get("transfer.digest")
    of = f"on-{asked[:16]}-" if asked else ""
    known = [view for view in views if view.name.startswith(of) and (of or not view.name.startswith("on-"))]
    return min(known, key=lambda view: (f"{size}px-" not in view.name, view.name), default=None)


def load(folder: Path, split: str, layer: str, chosen: Positions | None = None) -> Features | None:
    """Features (n, D) of the trained network at a layer, of some images of a split; None if unreadable.

    ``chosen`` are their places; without, they are :data:`MOST_IMAGES` at most, evenly taken.
    """
    try:
        features = np.load(folder / f"trained-{layer}" / f"{split}.npy", mmap_mode="r", allow_pickle=False)
        fits = features.ndim == 2 and len(features) > 2 and np.issubdtype(features.dtype, np.floating)
        if chosen is None:
            chosen = np.unique(np.linspace(0, len(features) - 1, MOST_IMAGES).astype(np.intp))
        some = features[chosen[chosen < len(features)]] if fits else features
    except (OSError, ValueError, EOFError, MemoryError):
        return None
    return some if fits and np.isfinite(some).all() else None


def alignments(folder: Path) -> dict[str, float]:
    """By layer, what is said beside its features of the distance between two views of an image."""
    found = {}
    for manifest in sorted(folder.glob("trained-*/manifest.json")):
        try:
            value = reach(json.loads(manifest.read_text(encoding="utf-8")), "alignment")
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(value, (int, float)):
            found[manifest.parent.name.removeprefix("trained-")] = float(value)
    return found


def spectrum(features: Features) -> NDArray[np.float64]:
    """Singular values of the centred features (N, D), the largest one set to 1."""
    features = features.astype(np.float64)
    features -= features.mean(axis=0)
    # Of X X' and X' X, which have the same nonzero eigenvalues, the smaller one.
    square = features @ features.T if len(features) < features.shape[1] else features.T @ features
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(square)[::-1], 0))
    return values / max(float(values[0]), 1e-12)


def flat_map(features: Features) -> NDArray[Any]:
    """Where t-SNE puts images of features (n, D): (n, 2) within the unit square."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    points = features.astype(np.float64)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    start = PCA(2, svd_solver="covariance_eigh").fit_transform(points)
    start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4
    perplexity = min(30.0, (len(points) - 1) / 3)
    # On a few hundred points, threads cost more than they save.
    with threadpool_limits(1):
        placed = TSNE(perplexity=perplexity, init=start, random_state=0).fit_transform(points)
    placed -= placed.min(axis=0)
    return placed / np.maximum(placed.max(axis=0), 1e-12)
