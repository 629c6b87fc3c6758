"""What can be known to be wrong with a cell before anything is begun."""

from __future__ import annotations

import errno
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simclr import data
from simclr.config import Config
from simclr.config.cell import probed_layer
from simclr.data.labels import labels_per_class
from simclr.data.listing import CLASSLESS
from simclr.foundation.errors import InvalidInput, RunFailed
from simclr.foundation.files import make_folder
from simclr.training.cluster import check_strategy

OWN_KEY = re.compile(r"(?<![^\s(])data(?=[.=][a-z_]+)")
"""The beginning of a key of ``data``, as messages have it."""


def check(config: Config) -> tuple[data.Catalogue, data.Catalogue]:
    """Everything about a cell that can be known to be wrong without decoding an image or starting TensorFlow.

    Returns:
        The images that are pretrained on and those that the probe asks about, as they were listed.

    Raises:
        ImpossibleCell: the head has no such layer, or the label fraction leaves a class without an example.
        InvalidInput: ``seeds``, which a grid alone has; data missing or too few for a batch, a batch that the devices
            cannot share, or ``root`` not writable.
    """
    if config.seeds is not None:
        raise InvalidInput(
            f"seeds={config.seeds}: of a grid, whose cells get seed after seed: python run.py -m ..., or python -m "
            "simclr.sweep FILE; a single run has seed=N, and of a W&B server's sweep the server says what runs"
        )
    catalogue = data.catalogue(config.data, cache_folder(config))
    count = len(catalogue.train) + len(catalogue.unlabeled)
    if config.pretrain.batch_size > count:
        raise InvalidInput(
            f"pretrain.batch_size={config.pretrain.batch_size}: {config.data.name} has {count} training images; "
            f"valid is at most {count}"
        )
    check_strategy(config.pretrain)
    asked = asked_about(config, catalogue)
    check_cell(config, asked)
    _check_writable(Path(config.root))
    return catalogue, asked


def asked_about(config: Config, pretrained_on: data.Catalogue) -> data.Catalogue:
    """The images that the probe asks about, by listing only."""
    if config.transfer.name is None:
        return pretrained_on
    with about_transfer():
        return data.catalogue(config.asked, cache_folder(config))


@contextmanager
def about_transfer() -> Iterator[None]:
    """Let what is wrong with images that are asked about name the keys that were typed: ``transfer.root``."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(OWN_KEY.sub("transfer", str(error))) from error


def digests(config: Config) -> tuple[str, str | None]:
    """What :func:`simclr.config.cell.describe` takes: of the images pretrained on, and with ``transfer`` of the others.

    Raises:
        InvalidInput: the data cannot be used.
    """
    cache = cache_folder(config)
    pretrained_on = data.catalogue(config.data, cache)
    digest = data.digest(pretrained_on, cache)
    if config.transfer.name is None:
        return digest, None
    return digest, data.digest(asked_about(config, pretrained_on), cache)


def check_cell(config: Config, catalogue: data.Catalogue) -> None:
    """Whether there is such a cell at all, of the images that it asks about.

    Raises:
        ImpossibleCell: the head has no such layer, or the label fraction leaves a class without an example.
        InvalidInput: a probe needs labels, and the images have none.
    """
    probed_layer(config)
    if config.probe.name == "none":
        return
    if not catalogue.classes:
        raise InvalidInput(f"{catalogue.root}: {CLASSLESS}")
    labels_per_class(catalogue.train_counts, config.probe.label_fraction, catalogue.classes)


def cache_folder(config: Config) -> Path:
    """Where verified downloads and decoded images lie."""
    return Path(config.root) / "data"


def _check_writable(root: Path) -> None:
    """Try it: permissions alone do not tell of a read-only or a full disk, nor of what root may do."""
    try:
        tempfile.NamedTemporaryFile(dir=make_folder(root), prefix=".writable.").close()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunFailed(f"root={root}: cannot be written to ({error.strerror})") from error
        raise InvalidInput(
            f"root={root}: cannot be written to ({error.strerror}); valid is a folder of yours"
        ) from error
