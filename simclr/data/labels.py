"""Which training images a probe may see the labels of, and which of those it is fitted to at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simclr.config.cell import ImpossibleCell

Labels = NDArray[np.integer[Any]]
Positions = NDArray[np.intp]


def labels_per_class(counts: Labels, fraction: float, names: Sequence[str] = ()) -> Labels:
    """How many labels of each class a stratified subset has: ``counts * fraction``, halves rounded up.

    ``names`` are the classes', for the message.

    Raises:
        ImpossibleCell: a class would be left without an example.
    """
    wanted = np.floor(counts * fraction + 0.5).astype(int)
    if (wanted < 1).any():
        smallest = int(np.argmin(counts))
        name = f"the class {names[smallest]!r}" if names else "a class"
        of = f"{counts[smallest]} training image{'' if counts[smallest] == 1 else 's'}"
        valid = f"valid is at least {0.5 / counts[smallest]:.2g}" if counts[smallest] else "it has to have some"
        raise ImpossibleCell(f"probe.label_fraction={fraction:g}: leaves {name} of {of} without an example; {valid}")
    return wanted


def stratified_subsets(labels: Labels, fraction: float, count: int, seed: int) -> list[Positions]:
    """Independent stratified draws without replacement, the same for every cell with this data and seed.

    Args:
        labels: (N,) class of each training image.
        fraction: share of each class; with 1 there is but one subset, and one is returned.
        count: how many draws.
        seed: of the experiment.

    Returns:
        Sorted positions into ``labels``.
    """
    wanted = labels_per_class(np.bincount(labels), fraction)
    subsets = []
    for draw in range(1 if fraction == 1 else count):
        generator = np.random.default_rng((seed, draw, 0x1ABE1))
        chosen = [
            generator.choice(np.flatnonzero(labels == name), size, replace=False) for name, size in enumerate(wanted)
        ]
        subsets.append(np.sort(np.concatenate(chosen)))
    return subsets


def draws_with_replacement(labels: Labels, fraction: float, count: int, seed: int) -> list[Positions]:
    """The documents' draws: any images, with replacement, so that some come twice and classes are uneven."""
    size = max(1, int(len(labels) * fraction))
    generators = (np.random.default_rng((seed, draw, 0xD0C5)) for draw in range(count))
    return [np.sort(generator.choice(len(labels), size, replace=True)) for generator in generators]


def stratified_folds(labels: Labels, seed: int, most: int = 5) -> list[tuple[Positions, Positions]]:
    """Stratified folds, at most ``most``; none where a class has a single example, so that nothing can be chosen."""
    from sklearn.model_selection import StratifiedKFold

    counts = np.bincount(labels)
    number = min(most, int(counts[counts > 0].min()))
    if number < 2:
        return []
    splitter = StratifiedKFold(number, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(len(labels)), labels))


def drawn(labels: Labels, images: int, seed: int, classes: int | None = None) -> Positions:
    """Some images of all, for a picture or a table: of each class its share, up or down to a whole image.

    Args:
        labels: (N,).
        images: at most so many.
        seed: which ones.
        classes: of so many classes at most, drawn too; None for all.

    Returns:
        Sorted positions into ``labels``.
    """
    generator = np.random.default_rng((seed, 0xD4A3))
    places, known = np.arange(len(labels)), np.unique(labels)
    if classes is not None and len(known) > classes:
        places = np.flatnonzero(np.isin(labels, generator.choice(known, classes, replace=False)))
    if len(places) <= images:
        return places
    places = generator.permutation(places)
    places = places[np.argsort(labels[places], kind="stable")]
    _, first, sizes = np.unique(labels[places], return_index=True, return_counts=True)
    counts, remainders = np.divmod(sizes * images, len(places))
    counts[np.argsort(-remainders, kind="stable")[: images - counts.sum()]] += 1
    return np.sort(places[np.arange(len(places)) - np.repeat(first, sizes) < np.repeat(counts, sizes)])
