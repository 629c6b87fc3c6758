"""Having a published set of images: the copy in the cache where it is right, else from an archive that is verified."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from simclr.data import archive, imagenet5
from simclr.data.content import combined, file_digest
from simclr.data.download import fetch
from simclr.data.listing import list_folder
from simclr.data.packed import Packed
from simclr.data.progress import Report
from simclr.foundation.errors import InvalidInput, RunFailed, one_line
from simclr.foundation.files import remove_stale, set_aside, whole_folder
from simclr.foundation.work import held


@dataclass(frozen=True)
class ImageNet5:
    """The five-class ImageNet subset, as GitHub packs it: known by what is in it, as the archive's bytes may change."""

    url: str = f"https://github.com/{imagenet5.ARCHIVE}"
    content: str = imagenet5.CONTENT
    size: int | None = None
    advice: str = f"set SIMCLR_DATA to a folder that holds {imagenet5.FOLDER}/, or data.root to that folder itself"

    def cached(self, cache: Path) -> Path:
        """Where its images are put."""
        return imagenet5.cached(cache)

    def is_right(self, cache: Path) -> bool:
        """Whether they are there, every one of them."""
        with contextlib.suppress(InvalidInput):
            return file_digest(list_folder("imagenet5", self.cached(cache)), cache) == self.content
        return False

    def unpack(self, archive_: Path, folder: Path, report: Report) -> None:  # noqa: ARG002 - it takes a moment
        """Write the archive's images below an empty folder."""
        found = combined(archive.extract(archive_, folder).items())
        if found != self.content:
            raise RunFailed(f"wrong bytes: the content is {found[:12]}, expected was {self.content[:12]}")


Published = ImageNet5 | Packed
"""A set of images that comes as an archive."""


def provide(published: Published, cache: Path, report: Report, local: Path | None = None) -> Path:
    """A published set's verified images in the cache, downloaded unless they are there already, see :func:`ensure`.

    Where the archive is on this machine, ``local`` is taken in place of a download.

    Returns:
        The folder with ``train/`` and ``test/``.

    Raises:
        RunFailed: no network, no such archive, cut short, the wrong bytes, or a cache that cannot be written; in one
            line, with what to do about it.
        InvalidInput: ``local`` is another archive, or broken.
    """
    place = published.cached(cache)
    make = partial(_download, published) if local is None else partial(_take, published, local)
    ensure(place, lambda: published.is_right(cache), lambda: make(place, report), report, f"; {published.advice}")
    return place


def ensure(
    place: Path, is_right: Callable[[], bool], make: Callable[[], None], report: Report, advice: str = ""
) -> bool:
    """Have a set's images in their folder of the cache: those that are there where they are right, else made anew.

    A copy that is no longer what was unpacked is set aside and replaced. Of several processes that want the images
    at once, one gets them and the others wait for it.

    Returns:
        Whether they had to be made.

    Raises:
        RunFailed: the cache cannot be written.
    """
    if is_right():
        return False
    try:
        claim = place.with_name(f".{place.name}.claim")
        with held(claim, lambda other: report(f"waiting for {other}, which gets the images")):
            if is_right():
                return False
            if place.exists() or place.is_symlink():
                aside = set_aside(place)
                report(f"{place} is not what was unpacked: set aside as {aside.name}, and made again")
            remove_stale(place.parent)
            make()
    except OSError as error:
        raise RunFailed(f"{place}: cannot be written: {one_line(error)}{advice}") from error
    return True


def _take(published: Published, local: Path, place: Path, report: Report) -> None:
    with whole_folder(place) as folder:
        try:
            published.unpack(local, folder, report)
        except RunFailed as failure:
            raise InvalidInput(f"{local}: {failure}; valid is the archive that {published.url} has") from failure


def _download(published: Published, place: Path, report: Report) -> None:
    partial = place.with_name(f"{place.name}.tar.gz.part")
    try:
        resumed = fetch(published.url, partial, report, published.size)
    except RunFailed as failure:
        some = partial.exists() and partial.stat().st_size
        kept = "; what has come is kept, and starting again goes on from it; or" if some else ";"
        raise RunFailed(f"{failure}{kept} {published.advice}") from failure
    try:
        with whole_folder(place) as folder:
            published.unpack(partial, folder, report)
    except RunFailed as failure:
        partial.unlink()
        if not resumed:
            raise RunFailed(f"download of {published.url} failed: {failure}; {published.advice}") from failure
        # The server may have packed the archive anew between the two attempts, so that their bytes do not fit
        # together. That says nothing about a download in one piece.
        report(f"the two parts of the download do not fit together ({failure}): downloaded anew")
        _download(published, place, report)
    else:
        partial.unlink()
