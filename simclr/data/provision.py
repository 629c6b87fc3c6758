"""Having the five-class ImageNet subset: the local copy where it is right, a verified download where there is none."""

from __future__ import annotations

import contextlib
from pathlib import Path

from simclr.data import archive, imagenet5, publish
from simclr.data.content import combined, file_digest
from simclr.data.download import fetch
from simclr.data.listing import list_folder
from simclr.data.progress import Report
from simclr.foundation.errors import InvalidInput, RunFailed, one_line
from simclr.foundation.lock import held_where_possible

SERVER = "https://github.com"
ADVICE = f"set SIMCLR_DATA to a folder that holds {imagenet5.FOLDER}/, or data.root to that folder itself"


def obtain(cache: Path, report: Report, server: str = SERVER, expected: str = imagenet5.CONTENT) -> Path:
    """The verified images in the cache, downloaded unless they are there already.

    A copy in the cache that is no longer what was downloaded is set aside and replaced. Of several processes that
    want the images at once, one downloads them and the others wait for it.

    Args:
        cache: the folder that downloads are kept in.
        report: takes what there is to say while it lasts.
        server: where the archive comes from, without the path.
        expected: the content's digest, see :mod:`simclr.data.content`.

    Returns:
        The folder with ``train/`` and ``test/``.

    Raises:
        RunFailed: no network, no such archive, cut short, the wrong bytes, or a cache that cannot be written; in one
            line, with what to do about it.
    """
    place = imagenet5.cached(cache)
    if _is_right(place, cache, expected):
        return place
    try:
        # Two at once would not be harmful: what they download is verified before it is used.
        lock, waiting = cache / f"{imagenet5.FOLDER}.lock", "waiting for another process that downloads"
        with held_where_possible(lock, waiting, report):
            if _is_right(place, cache, expected):
                return place
            if place.exists() or place.is_symlink():
                aside = publish.set_aside(place)
                report(f"{place} is not what was downloaded: set aside as {aside.name}, and downloaded again")
            publish.remove_stale(cache)
            _download(place, report, f"{server}/{imagenet5.ARCHIVE}", expected)
    except OSError as error:
        raise RunFailed(f"{place}: cannot be written: {one_line(error)}; {ADVICE}") from error
    return place


def _download(place: Path, report: Report, url: str, expected: str) -> None:
    partial = place.with_name(f"{place.name}.tar.gz.part")
    try:
        resumed = fetch(url, partial, report)
    except RunFailed as failure:
        kept = "; what has come is kept, and starting again goes on from it" if _size(partial) else ""
        raise RunFailed(f"{failure}{kept}; or {ADVICE}" if kept else f"{failure}; {ADVICE}") from failure
    with publish.unfinished_folder(place) as folder:
        try:
            _unpack(partial, folder, expected)
        except RunFailed as failure:
            partial.unlink()
            if not resumed:
                raise RunFailed(f"download of {url} failed: {failure}; {ADVICE}") from failure
            # The server may have packed the archive anew between the two attempts, so that their bytes do not fit
            # together. That says nothing about a download in one piece.
            report(f"the two parts of the download do not fit together ({failure}): downloaded anew")
        else:
            publish.publish(folder, place)
            partial.unlink()
            return
    _download(place, report, url, expected)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _unpack(partial: Path, folder: Path, expected: str) -> None:
    content = combined(archive.extract(partial, folder).items())
    if content != expected:
        raise RunFailed(f"wrong bytes: the content is {content[:12]}, expected was {expected[:12]}")


def _is_right(place: Path, cache: Path, expected: str) -> bool:
    with contextlib.suppress(InvalidInput):
        return file_digest(list_folder("imagenet5", place), cache) == expected
    return False
