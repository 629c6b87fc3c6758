"""Files out of a downloaded archive, and nothing else out of it: its bytes come from the network."""

from __future__ import annotations

import gzip
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from simclr.foundation.errors import RunFailed
from simclr.foundation.files import sha256

MEMBERS_MAX = 10_000
BYTES_MAX = 1 << 29
IMAGE = re.compile(r"[^/\\]+/(?P<split>train|test)/(?P<name>[^/\\:]+\.jpg)")


def image_of(member: str) -> str | None:
    """Where ``<top>/{train,test}/<name>.jpg`` is written, without ``<top>``; None for any other."""
    image = IMAGE.fullmatch(member)
    return f"{image['split']}/{image['name']}" if image else None


def extract(
    archive: Path, folder: Path, place_of: Callable[[str], str | None] = image_of, most: int | None = None
) -> dict[str, str]:
    """Write some of an archive's files below ``folder``.

    Args:
        archive: a gzip-compressed tar file.
        folder: an empty folder.
        place_of: from a member's name to the path relative to ``folder`` that it is written to, None where it is not;
            a name of the caller's own making, at most one folder deep.
        most: bytes in it, unpacked; None for half a gigabyte.

    Returns:
        The SHA-256 of each file written, by its path relative to ``folder``.

    Raises:
        RunFailed: in one line: the archive is broken or cut short; a member has an absolute path or ``..`` in it, or
            is a link or a device; or it holds more than such a set could.
        OSError: ``folder`` cannot be written.
    """
    hashes: dict[str, str] = {}
    try:
        with tarfile.open(archive, "r|gz") as members:
            size = 0
            for number, member in enumerate(members, start=1):
                size += member.size
                _refuse_unsafe(member, number, size, most or BYTES_MAX)
                relative = place_of(member.name)
                if relative is None or not member.isfile():
                    continue
                if relative in hashes:
                    raise RunFailed(f"the archive was refused: {member.name!r} is in it twice")
                hashes[relative] = _write(members, member, folder / relative)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise RunFailed(f"the archive is broken or cut short: {error}") from error
    return hashes


def _refuse_unsafe(member: tarfile.TarInfo, number: int, size: int, most: int) -> None:
    path = PurePosixPath(member.name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise RunFailed(f"the archive was refused: its member {member.name!r} leads out of the folder")
    if not (member.isfile() or member.isdir()):
        kind = "link" if member.issym() or member.islnk() else "device"
        raise RunFailed(f"the archive was refused: its member {member.name!r} is a {kind}")
    if number > MEMBERS_MAX or size > most or member.size < 0:
        raise RunFailed(f"the archive was refused: more than {MEMBERS_MAX:,} files or {most:,} bytes in it")


def _write(members: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> str:
    content = members.extractfile(member)
    assert content is not None
    place.parent.mkdir(exist_ok=True)
    with place.open("xb") as file:
        shutil.copyfileobj(content, file)
    return sha256(place)
