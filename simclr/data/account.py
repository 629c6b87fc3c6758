"""What was found, in words: what a set holds, what of it is passed over, and what looks like a mistake."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simclr.data.formats import SUFFIXES, suffixes
from simclr.data.parts import Catalogue

NAMED = 10
"""Classes, at most, of which a line names each."""


def account(found: Catalogue) -> list[str]:
    """A line for each part and its classes, and one for those that only one part has."""
    without = [f"unlabeled: {len(found.unlabeled):,} images"] if found.unlabeled else []
    if not found.classes:
        return without
    return [
        f"train: {_counts(found.train_counts, found.classes)}",
        f"{asked(found)}: {_counts(found.test_counts, found.classes)}",
        *without,
        *unasked(found),
    ]


def unasked(found: Catalogue) -> list[str]:
    """A line for the classes that only training has; none where every class is asked about."""
    names = [name for name, count in zip(found.classes, found.test_counts, strict=True) if not count]
    if not names:
        return []
    more = f", .. ({len(names)} classes)" if len(names) > NAMED else ""
    why = "too few to give any" if found.validation else "accuracy says nothing of them"
    return [f"no {asked(found)} images of {', '.join(names[:NAMED])}{more}: {why}"]


def asked(found: Catalogue) -> str:
    """What the images are called that are asked about: test, or validation where some stand in their place."""
    return "validation" if found.validation else "test"


def passed_over(found: Catalogue) -> str:
    """How many of which kind, the most frequent first; and of images that could be read, what they need."""
    kinds = sorted(found.passed_over.items(), key=lambda kind: (-kind[1], kind[0]))
    said = ", ".join(f"{count:,} {kind}" for kind, count in kinds)
    readable = {suffix for of_format in SUFFIXES.values() for suffix in of_format} - set(suffixes())
    needed = [kind for kind, _ in kinds if kind in readable]
    return said + (f" (pip install 'simclr[heic]' reads {', '.join(needed)})" if needed else "")


def _counts(counts: NDArray[np.int64], classes: tuple[str, ...]) -> str:
    present = np.flatnonzero(counts)
    if len(present) <= NAMED:
        return ", ".join(f"{counts[label]:,} {classes[label]}" for label in present)
    least, most = present[counts[present].argmin()], counts.argmax()
    return (
        f"{counts.sum():,} images of {len(present):,} classes, from {counts[least]:,} ({classes[least]}) "
        f"to {counts[most]:,} ({classes[most]})"
    )
