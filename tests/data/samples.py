"""Small real image files, archives of them, and what a real HTTP server of one file does wrong."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
from PIL import Image

from simclr.config import DataConfig


def picture(width: int = 12, height: int = 9, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """A smooth picture of its own for each seed."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (3, 4, 3), np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@dataclass
class Tree:
    """A folder of images that a test adds to."""

    root: Path
    count: int = 0

    def add(self, path: str, content: bytes | None = None) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(picture(seed=self.count)) if content is None else content)
        self.count += 1
        return file

    def config(self, side: int = 8) -> DataConfig:
        return DataConfig("folder", str(self.root), side)


def packed(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    """A .tar.gz of files, and of members without content."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in more:
            archive.addfile(member)
    return stream.getvalue()


@dataclass
class Server:
    """A local HTTP server of one file, and what it does wrong."""

    content: bytes = b""
    status: int = 200
    honours_ranges: bool = True
    wrong_start: bool = False
    cut_at: int | None = None
    chunked: bool = False
    asked: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.asked.append(wanted)
        self.paths.append(handler.path)
        if self.status != 200:
            handler.send_error(self.status)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.honours_ranges else 0
        size = len(self.content)
        if start >= size:
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{size}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start + self.wrong_start}-{size - 1}/{size}")
        sent = body if self.cut_at is None else body[: self.cut_at]
        if self.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(body), sent))
            if self.cut_at is None:
                handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(sent)
        handler.close_connection = True
