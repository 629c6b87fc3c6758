"""One file over HTTP, which goes on where an earlier attempt was cut short."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from simclr.data.progress import Report, progress
from simclr.foundation.errors import RunFailed, one_line

TIMEOUT_SECONDS = 30
BYTES_MAX = 1 << 30
CHUNK = 1 << 17


def fetch(url: str, partial: Path, report: Report, most: int | None = None) -> bool:
    """Download ``url`` into the file ``partial``, keeping the bytes that are there if the server can go on from them.

    When it fails on the way, what has come stays in ``partial`` for the next attempt.

    Args:
        url: ``http:`` or ``https:``.
        partial: the file to fill; what it holds is taken for the beginning of the same content.
        report: takes progress lines where standard error is no terminal.
        most: bytes that the file can have; None for a gigabyte.

    Returns:
        Whether bytes of an earlier attempt are part of the file.

    Raises:
        RunFailed: in one line, what the server or the network did.
        OSError: ``partial`` cannot be written.
    """
    if not url.startswith(("http://", "https://")):
        raise RunFailed(f"download of {url} failed: not an http or https address")
    have = partial.stat().st_size if partial.exists() else 0
    if have:
        with closing(_open(url, have)) as response:
            told = response.headers.get("Content-Range", "").strip()
            if told == f"bytes */{have}":  # status 416: there is nothing beyond
                return True
            size = told.rpartition("/")[2]
            total = int(size) if size.isdecimal() else 0
            # It has to go on exactly where what is here ends, and to the end.
            if response.status == http.client.PARTIAL_CONTENT and told == f"bytes {have}-{total - 1}/{total}":
                report(f"download goes on at {have / 1e6:.1f} of {total / 1e6:.1f} MB")
                _receive(response, partial, have, total, report, most)
                return True
        partial.unlink()
    with closing(_open(url, 0)) as response:
        if response.status != http.client.OK:
            raise RunFailed(f"download of {url} failed: the server answered {response.status} {response.reason}")
        length = response.headers.get("Content-Length", "")
        _receive(response, partial, 0, int(length) if length.isdecimal() else None, report, most)
    return False


def _open(url: str, start: int) -> Any:
    """The server's answer; status 416, "no such range", is an answer too when the file is asked for from ``start``."""
    request = urllib.request.Request(url, headers={"User-Agent": "simclr", "Accept-Encoding": "identity"})  # noqa: S310
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310 - http and https only, see above
    except urllib.error.HTTPError as error:
        if start and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return error
        error.close()
        raise RunFailed(f"download of {url} failed: the server answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        raise RunFailed(f"download of {url} failed: {one_line(cause)}") from error


def _receive(response: Any, partial: Path, start: int, total: int | None, report: Report, most: int | None) -> None:
    """Write the body to ``partial`` from byte ``start`` on, and see that the file then has ``total`` bytes."""
    size, most = start, most or BYTES_MAX
    with partial.open("ab" if start else "wb") as file, progress("downloading", total, "bytes", report) as advance:
        advance(start)
        for chunk in _chunks(response):
            size += len(chunk)
            if size > most:
                partial.unlink()
                raise RunFailed(f"download of {response.url} was stopped at {most:,} bytes: this is another file")
            file.write(chunk)
            advance(len(chunk))
    if total is not None and size < total:
        raise RunFailed(f"download of {response.url} was cut short: {size:,} of {total:,} bytes")


def _chunks(response: Any) -> Iterator[bytes]:
    while True:
        try:
            chunk: bytes = response.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise RunFailed(f"download of {response.url} was cut short: {one_line(error)}") from error
        if not chunk:
            return
        yield chunk
