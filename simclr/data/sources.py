"""From a data option to its catalogue."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from simclr.config import DataConfig
from simclr.data import digits, hub, imagenet5
from simclr.data.listing import LAYOUT, absolute, check_folder, list_expected, list_folder, shared
from simclr.data.packed import PACKED
from simclr.data.parts import Catalogue, order_for_good, taken
from simclr.data.table import list_table
from simclr.foundation.errors import InvalidInput

LOG = logging.getLogger(__name__)
UNLABELED_SEED = 100_000


def catalogue(config: DataConfig, cache: Path) -> Catalogue:
    """What the configured data are, found by listing only: nothing is decoded, written or downloaded.

    A set of the hub, of which only its server knows what it holds, is downloaded where it has not been.

    Args:
        config: which data, for files where they lie, and what part of them.
        cache: the folder in which downloads are kept, ``<root>/data``; it need not exist.

    Returns:
        The catalogue. For published images that are nowhere on this machine, or of which the cache holds an incomplete
        copy, it is the known one with ``needs_download``.

    Raises:
        InvalidInput: in one line, the folder, class or file that is missing or wrong.
    """
    whole = _as_many_unlabeled(_whole(config, cache), config.unlabeled)
    for key, given in (("validation", config.validation > 0), ("train_share", config.train_share < 1)):
        if given and not whole.classes:
            said = f"data.{key}={getattr(config, key):g}"
            raise InvalidInput(f"{said}: a share of each class, and {whole.root} has images without labels alone")
    part = config.validation or config.train_share < 1
    return taken(whole, config.validation, config.train_share) if part else whole


def _whole(config: DataConfig, cache: Path) -> Catalogue:
    if hub.is_hub(config.name):
        _check_keys(config, ("root", "class_pattern", "labels"), "folder")
        return hub.catalogue(config, cache, LOG.info)
    known = ("digits", "imagenet5", *PACKED, "folder")
    if config.name not in known:
        raise InvalidInput(f"data.name={config.name}: valid is {', '.join(known)}")
    _check_keys(config, ("subset", "revision", "image_column", "label_column"), "hub")
    if config.name != "folder":
        _check_keys(config, ("class_pattern", "labels", "test_share"), "folder")
    if config.name == "digits":
        _check_keys(config, ("root",), "folder")
        return digits.catalogue()
    root = Path(config.root).expanduser() if config.root else None
    if config.name in PACKED:
        PACKED[config.name].local(config.root)  # raises where it was asked for and is not there
        return PACKED[config.name].catalogue(cache)
    return _imagenet5(root, cache) if config.name == "imagenet5" else _folder(config, root)


def _check_keys(config: DataConfig, keys: tuple[str, ...], option: str) -> None:
    for key in keys:
        if getattr(config, key) is not None:
            raise InvalidInput(
                f"data.{key}={getattr(config, key)}: says nothing of data={config.name}; it is for {option}"
            )


def _imagenet5(root: Path | None, cache: Path) -> Catalogue:
    """The first copy that is there: below ``$SIMCLR_DATA``, at ``root``, in the cache."""
    cached, found = imagenet5.cached(cache), shared(imagenet5.FOLDER)
    if found is None and root is not None:
        check_folder(root, "data.root=", f"; {LAYOUT}")  # to go on without what was asked for would hide a mistake
        found = root
    if found is None or absolute(found) == cached:
        # Where it is not there, or something has happened to it, the one that will be downloaded in its place.
        return list_expected(imagenet5.to_download(), cached)
    return list_folder("imagenet5", found)


def _folder(config: DataConfig, root: Path | None) -> Catalogue:
    if root is None:
        raise InvalidInput(f"data.root is missing: data=folder needs data.root=DIR; {LAYOUT}")
    check_folder(root, "data.root=", f"; {LAYOUT}")
    if config.labels is None:
        return list_folder(config.name, root, config.class_pattern, config.test_share)
    if config.class_pattern is not None:
        raise InvalidInput("data.class_pattern and data.labels: both tell classes; valid is one of them")
    return list_table(root, Path(config.labels).expanduser(), config.test_share)


def _as_many_unlabeled(whole: Catalogue, share: float) -> Catalogue:
    """The same with a share of its images without labels; a smaller share is a part of a larger one."""
    count = len(whole.unlabeled)
    if share == 1 or (share == 0 and not count):
        return whole
    if not count:
        raise InvalidInput(f"data.unlabeled={share:g}: data={whole.name} has no images without labels")
    chosen = np.sort(order_for_good(count, UNLABELED_SEED)[: round(share * count)])
    return replace(whole, unlabeled=whole.unlabeled.part(chosen))


def reference(config: DataConfig) -> str:
    """Where the configured data are from, as a URI."""
    if hub.is_hub(config.name):
        return hub.reference(config)
    published = {
        "digits": "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        "imagenet5": f"https://github.com/thunderInfy/{imagenet5.FOLDER}/tree/{imagenet5.COMMIT}",
        **{name: packed.url for name, packed in PACKED.items()},
    }
    return published.get(config.name) or Path(config.root or ".").expanduser().absolute().as_uri()
