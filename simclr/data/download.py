"""One file over HTTP, which goes on where an earlier attempt was cut short."""

from __future__ import annotations

import http.client
import re
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
        response = _open(url, have)
        if isinstance(response, urllib.error.HTTPError):
            with closing(response):
                if response.headers.get("Content-Range") == f"bytes */{have}":
                    return True
        else:
            with closing(response):
                total = _total_if_continued(response, have)
                if total is not None:
                    report(f"download goes on at {have / 1e6:.1f} of {total / 1e6:.1f} MB")
                    _receive(response, partial, have, total, report, most)
                    return True
                if response.status == http.client.OK:
                    _receive(response, partial, 0, _length(response), report, most)
                    return False
        partial.unlink()
    response = _open(url, 0)
    with closing(response):
        if response.status != http.client.OK:
            raise RunFailed(f"download of {url} failed: the server answered {response.status} {response.reason}")
        _receive(response, partial, 0, _length(response), report, most)
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
    except urllib.error.URLError as error:
        cause = error.reason if isinstance(error.reason, BaseException) else error
        raise RunFailed(f"download of {url} failed: {one_line(cause)}") from error
    except (OSError, http.client.HTTPException) as error:
        raise RunFailed(f"download of {url} failed: {one_line(error)}") from error


def _total_if_continued(response: Any, have: int) -> int | None:
    """The whole size in bytes if the answer goes on exactly where ``have`` bytes end, else None."""
    if response.status != http.client.PARTIAL_CONTENT:
        return None
    told = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", "").strip())
    if told is None:
        return None
    start, end, total = map(int, told.groups())
    return total if start == have and end == total - 1 else None


def _length(response: Any) -> int | None:
    told = response.headers.get("Content-Length", "")
    return int(told) if told.isdecimal() else None


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
