"""Stored features of a pretraining, ``pretrained/<key>/features/<view>/``, where there are any.

They make two pictures: the spectrum of singular values (dimensional collapse: Jing, Vincent, LeCun and Tian 2022,
arXiv 2110.09348) and the map of test images (t-SNE: van der Maaten and Hinton 2008).
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simclr.report.records import CellRecord, reach

Features = NDArray[np.float32]

MOST_IMAGES = 2000
"""Of a spectrum: more change nothing that can be seen."""
MOST_POINTS = 300
"""Of a map."""


def view_folder(root: Path, cell: CellRecord) -> Path | None:
    """Where the features of a cell's pretraining lie, as the cell's probe looks at images if there are such."""
    folder = root / "pretrained" / cell.key / "features"
    if not cell.key or Path(cell.key).name != cell.key:
        return None
    try:
        views = sorted(entry for entry in folder.iterdir() if (entry / "trained.npz").is_file())
    except OSError:
        return None
    size = cell.settings.get("probe.image_size")
    asked = cell.get("transfer.digest")
    of = f"on-{asked[:16]}-" if asked else ""
    known = [view for view in views if view.name.startswith(of) and (of or not view.name.startswith("on-"))]
    return min(known, key=lambda view: (f"{size}px-" not in view.name, view.name), default=None)


def load(folder: Path, network: str, split: str, layer: str) -> Features | None:
    """Features (N, D) of a split at a layer of the ``trained`` or ``untrained`` network; None if unreadable."""
    try:
        with np.load(folder / f"{network}.npz", allow_pickle=False) as file:
            features = file[f"{split}/{layer}"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, MemoryError):
        return None
    fits = features.ndim == 2 and len(features) > 2 and np.issubdtype(features.dtype, np.floating)
    return features if fits and np.isfinite(features).all() else None


def alignments(folder: Path) -> dict[str, float]:
    """By layer, what the view's manifest says of the distance between two views of an image."""
    try:
        found = reach(json.loads((folder / "manifest.json").read_text(encoding="utf-8")), "alignment", {})
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(layer): float(value) for layer, value in found.items() if isinstance(value, (int, float))}


def spectrum(features: Features) -> NDArray[np.float64]:
    """Singular values of the centred features (N, D), the largest one set to 1."""
    features = features[:MOST_IMAGES].astype(np.float64)
    features -= features.mean(axis=0)
    # Of X X' and X' X, which have the same nonzero eigenvalues, the smaller one.
    square = features @ features.T if len(features) < features.shape[1] else features.T @ features
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(square)[::-1], 0))
    return values / max(float(values[0]), 1e-12)


def flat_map(features: Features, chosen: NDArray[np.intp]) -> NDArray[Any]:
    """Where t-SNE puts the chosen images, (len(chosen), 2) within the unit square."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    points = features[chosen].astype(np.float64)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    start = PCA(2, svd_solver="covariance_eigh").fit_transform(points)
    start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4
    perplexity = min(30.0, (len(points) - 1) / 3)
    # On a few hundred points, threads cost more than they save.
    with threadpool_limits(1):
        placed = TSNE(perplexity=perplexity, init=start, random_state=0).fit_transform(points)
    placed = placed - placed.min(axis=0)
    return placed / np.maximum(placed.max(axis=0), 1e-12)


def choose(labels: NDArray[Any]) -> NDArray[np.intp]:
    """At most :data:`MOST_POINTS` images, the same ones for every panel."""
    if len(labels) <= MOST_POINTS:
        return np.arange(len(labels))
    return np.sort(np.random.default_rng(0).choice(len(labels), MOST_POINTS, replace=False))
