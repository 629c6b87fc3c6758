from __future__ import annotations

import socket
from pathlib import Path

import pytest

from simclr.data import download
from simclr.data.download import fetch
from simclr.foundation.errors import RunFailed

from .samples import Server

CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    return tmp_path / "archive.part"


def failure(url: str, partial: Path) -> str:
    with pytest.raises(RunFailed) as caught:
        fetch(url, partial, print)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_is_downloaded(server: Server, partial: Path, lines: list[str], chunked: bool) -> None:
    server.content, server.chunked = CONTENT, chunked
    assert not fetch(f"{server.url}/x", partial, lines.append)
    assert partial.read_bytes() == CONTENT
    assert lines[0].startswith("downloading")
    assert lines[-1] == "downloading: 0.5 MB, done"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_cut_short_is_noticed_and_kept(server: Server, partial: Path, chunked: bool) -> None:
    server.content, server.cut_at, server.chunked = CONTENT, 300_000, chunked
    assert "was cut short" in failure(f"{server.url}/x", partial)
    assert partial.read_bytes() == CONTENT[: partial.stat().st_size]
    assert 0 < partial.stat().st_size <= 300_000


def test_a_download_goes_on_where_it_was_cut_short(server: Server, partial: Path) -> None:
    server.content = CONTENT
    partial.write_bytes(CONTENT[:1000])
    assert fetch(f"{server.url}/x", partial, print)
    assert server.asked == ["bytes=1000-"]
    assert partial.read_bytes() == CONTENT


def test_a_server_without_ranges_sends_it_all_again(server: Server, partial: Path) -> None:
    server.content, server.honours_ranges = CONTENT, False
    partial.write_bytes(b"x" * 1000)
    assert not fetch(f"{server.url}/x", partial, print)
    assert partial.read_bytes() == CONTENT


def test_a_range_that_was_not_asked_for_is_not_taken(server: Server, partial: Path) -> None:
    server.content, server.wrong_start = CONTENT, True
    partial.write_bytes(CONTENT[:1000])
    assert not fetch(f"{server.url}/x", partial, print)
    assert server.asked == ["bytes=1000-", None]
    assert partial.read_bytes() == CONTENT


def test_a_file_that_is_complete_already_is_not_downloaded_again(server: Server, partial: Path) -> None:
    server.content = CONTENT
    partial.write_bytes(CONTENT)
    assert fetch(f"{server.url}/x", partial, print)
    assert server.asked == [f"bytes={len(CONTENT)}-"]


def test_a_file_that_is_longer_than_the_servers_is_downloaded_anew(server: Server, partial: Path) -> None:
    server.content = CONTENT
    partial.write_bytes(CONTENT + b"x")
    assert not fetch(f"{server.url}/x", partial, print)
    assert partial.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [404, 503])
def test_an_error_of_the_server_is_told(server: Server, partial: Path, status: int) -> None:
    server.status = status
    assert f"the server answered {status}" in failure(f"{server.url}/x", partial)


def test_no_network_is_told_and_what_has_come_is_kept(partial: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        partial.write_bytes(b"x")
        told = failure(f"http://127.0.0.1:{closed.getsockname()[1]}/x", partial)
    assert "refused" in told
    assert partial.read_bytes() == b"x"


def test_a_name_that_does_not_resolve_is_told(partial: Path) -> None:
    assert "failed" in failure("http://host.invalid/x", partial)


def test_only_http_addresses_are_fetched(partial: Path) -> None:
    assert "not an http or https address" in failure("file:///etc/hostname", partial)


def test_a_body_without_end_is_stopped_and_thrown_away(
    server: Server, partial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "BYTES_MAX", 100_000)
    server.content, server.chunked = CONTENT, True
    assert "was stopped at 100,000 bytes" in failure(f"{server.url}/x", partial)
    assert not partial.exists()
