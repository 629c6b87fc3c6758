"""Fixtures: trees of small images, a local HTTP server, the real images where they are on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from simclr.data import imagenet5
from tests.real_set import real_images

from .samples import Server, Tree


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No data of this machine's and no proxy, unless a test asks for them."""
    monkeypatch.delenv("SIMCLR_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="session")
def real_set() -> Path:
    """The folder that holds ``imagenet-5-categories``; skips where the images are not on this machine."""
    folder = real_images()
    if folder is None:
        pytest.skip(f"needs {imagenet5.FOLDER}: set SIMCLR_DATA to the folder that holds it")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "data"


@pytest.fixture
def empty_tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "pictures")


@pytest.fixture
def tree(empty_tree: Tree) -> Tree:
    """Cats and dogs: three and two to train with, one each to test with."""
    for path in ("train/cat/1.jpg", "train/cat/2.jpg", "train/cat/3.jpg", "train/dog/1.jpg", "train/dog/2.jpg"):
        empty_tree.add(path)
    for path in ("test/cat/1.jpg", "test/dog/1.jpg"):
        empty_tree.add(path)
    return empty_tree


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        served.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        listening.shutdown()
        thread.join()


@pytest.fixture
def lines() -> list[str]:
    """What was reported: pass ``lines.append`` as the report."""
    return []
