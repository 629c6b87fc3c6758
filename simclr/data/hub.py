"""Image sets of the Hugging Face hub, through its ``datasets`` library: unpacked once into a folder like anyone's.

A set is ``OWNER/NAME`` there, or a folder of this machine that ``datasets`` has saved. Its revision is looked up when
it is first asked for, and kept: the same root goes on with the same images until another one is asked for by name.
Images are written as the bytes that they come as, in the order that they come in.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from simclr.config import DataConfig
from simclr.data.content import MARK, is_marked, mark
from simclr.data.formats import SUFFIXES, formats
from simclr.data.listing import LEFT_BEHIND, TESTS, UNLABELED, absolute, list_folder
from simclr.data.parts import Catalogue
from simclr.data.progress import Report, progress
from simclr.data.provision import ensure
from simclr.foundation.errors import InvalidInput, RunFailed, one_line
from simclr.foundation.files import as_file_name, make_folder, whole_folder, write_whole

COMMIT = re.compile(r"[0-9a-f]{40}")
UNLABELED_SPLITS = ("unlabeled", "unlabelled", "unsupervised")
LABELS = ("label", "labels", "fine_label", "class", "category")
"""Columns that are taken for the label where no column says that it is one."""


def is_hub(name: str) -> bool:
    """Whether a ``data.name`` is a set of the hub, or a saved one: any name with a slash."""
    return "/" in name


def catalogue(config: DataConfig, cache: Path, report: Report) -> Catalogue:
    """What a set holds. Only its server knows that: it is downloaded and unpacked where it has not been.

    Raises:
        InvalidInput: there is no such set, split or column, or ``datasets`` is not installed.
        RunFailed: it cannot be downloaded, or not be written.
    """
    revision = _revision(config, cache)
    place = _place(config, revision, cache)
    ensure(place, (place / MARK).exists, lambda: _unpack(config, revision, place, report), report)
    found = list_folder(config.name, place, test_share=config.test_share)
    return replace(found, passed_over={}, revision=revision)


def renewed(config: DataConfig, cache: Path, found: Catalogue, report: Report) -> bool:
    """Whether a set had to be unpacked anew, as its folder no longer held what was unpacked to it."""
    assert found.root is not None
    assert found.revision is not None
    place, revision = found.root, found.revision
    return ensure(
        place,
        lambda: is_marked(config.name, place, {}, cache, config.test_share),
        lambda: _unpack(config, revision, place, report),
        report,
    )


def reference(config: DataConfig) -> str:
    """Where a set is from, as a URI."""
    if (local := _local(config.name)) is not None:
        return local.as_uri()
    return f"https://huggingface.co/datasets/{config.name}"


def _local(name: str) -> Path | None:
    """The folder of this machine that a name means; None for a set of the hub."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path.absolute()
    if name.startswith(("/", "~", ".")):
        raise InvalidInput(f"data.name={name}: no such folder; valid is one that datasets has saved, or OWNER/NAME")
    return None


def _place(config: DataConfig, revision: str, cache: Path) -> Path:
    chosen = [config.subset, config.image_column, config.label_column]
    suffix = f"-{hashlib.sha256(repr(chosen).encode()).hexdigest()[:8]}" if any(chosen) else ""
    name = as_file_name(config.name)
    return absolute(cache / "hub" / f"{name}@{revision[:12]}{suffix}")


def _revision(config: DataConfig, cache: Path) -> str:
    """The commit that a set is taken at; of a saved one, a hash of what its files look like from outside."""
    if (local := _local(config.name)) is not None:
        seen = hashlib.sha256()
        for file in sorted(each for each in local.rglob("*") if each.is_file()):
            status = file.stat()
            seen.update(f"{file.relative_to(local)} {status.st_size} {status.st_mtime_ns} {status.st_ino}\n".encode())
        return seen.hexdigest()[:40]
    if config.revision is not None and COMMIT.fullmatch(config.revision):
        return config.revision
    kept = cache / "hub" / f"{as_file_name(config.name)}.revision"
    if config.revision is None and kept.exists():
        return kept.read_text().strip()
    _require()
    from huggingface_hub import HfApi

    with _answers(config):
        found = str(HfApi().dataset_info(config.name, revision=config.revision).sha)
    if config.revision is None:
        make_folder(kept.parent)
        write_whole(kept, found.encode())
    return found


def _unpack(config: DataConfig, revision: str, place: Path, report: Report) -> None:
    splits = _loaded(config, revision)
    with whole_folder(place) as folder:
        _write(config, splits, folder, report)
        mark(config.name, folder, {"name": config.name, "revision": revision}, config.test_share)


def _require() -> None:
    if find_spec("datasets") is None:
        raise InvalidInput("data=hub: needs the library datasets, pip install 'simclr[hub]'")
    logging.getLogger("datasets").setLevel(logging.WARNING)  # on import it tells which frameworks there are


@contextmanager
def _answers(config: DataConfig) -> Iterator[None]:
    """Say in one line what the hub and its library raise."""
    # The library's own names for it; its classes move between versions.
    refused = ("RepositoryNotFoundError", "DatasetNotFoundError", "RevisionNotFoundError", "GatedRepoError")
    what = f"data.name={config.name}"
    try:
        yield
    except (InvalidInput, RunFailed):
        raise
    except Exception as error:
        if isinstance(error, ValueError) or type(error).__name__ in refused:
            raise InvalidInput(f"{what}: {one_line(error)[:300]}") from error
        raise RunFailed(f"{what}: cannot be had from the hub: {one_line(error)[:300]}") from error


def _loaded(config: DataConfig, revision: str) -> dict[str, Any]:
    """Its splits, by name."""
    _require()
    import datasets

    local = _local(config.name)
    with _answers(config):
        if local is not None and ((local / "dataset_dict.json").exists() or (local / "state.json").exists()):
            found = datasets.load_from_disk(str(local))
        else:
            at = {"revision": revision} if local is None else {}
            found = datasets.load_dataset(str(local or config.name), config.subset, **at)
    return dict(found) if isinstance(found, Mapping) else {"train": found}


def _write(config: DataConfig, splits: Mapping[str, Any], folder: Path, report: Report) -> None:
    """Write every image of the splits that are of use, below the folders of their parts and classes."""
    parts = _parts(config, splits)
    images, label = _columns(config, splits[next(iter(parts))].features)
    total = sum(len(splits[name]) for name in parts)
    with progress(f"unpacking {config.name}", total, "images", report) as advance:
        for name, part in parts.items():
            split = splits[name]
            named = _namer(split.features.get(label)) if label in split.features else lambda _: None
            for number, (content, given) in enumerate(_rows(split, images, label)):
                of_class = named(given)
                place = folder / (UNLABELED if of_class is None else part) / (of_class or "")
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{name}-{number:07}{_suffix(content)}").write_bytes(content)
                advance(1)


def _parts(config: DataConfig, splits: Mapping[str, Any]) -> dict[str, str]:
    """Which part each split is; splits that are none are left alone."""
    test = next((name for name in TESTS if name in splits), None)
    parts = {"train": "train"} if "train" in splits else {}
    parts |= {name: UNLABELED for name in splits if name in UNLABELED_SPLITS}
    parts |= {test: "test"} if test is not None else {}
    if not parts:
        raise InvalidInput(f"data.name={config.name}: has the splits {', '.join(splits)}; valid are train and test")
    labelled = "train" in parts and _columns(config, splits["train"].features)[1] is not None
    if labelled and test is None and config.test_share is None:
        raise InvalidInput(f"data.name={config.name}: has no test split; data.test_share=0.2 draws one")
    return parts


def _columns(config: DataConfig, features: Mapping[str, Any]) -> tuple[str, str | None]:
    """The columns of images and of labels: those that are typed so, else those that are usually called so."""
    from datasets import ClassLabel
    from datasets import Image as ImageColumn

    there = ", ".join(features)

    def chosen(key: str, kind: type) -> list[str]:
        """The column that was asked for, or those of a type."""
        column = getattr(config, key)
        if column is not None and column not in features:
            raise InvalidInput(f"data.{key}={column}: data.name={config.name} has the columns {there}")
        return [column] if column else [name for name, type_ in features.items() if isinstance(type_, kind)]

    images = chosen("image_column", ImageColumn)
    labels = chosen("label_column", ClassLabel) or [name for name in LABELS if name in features]
    if len(images) != 1:
        which = f"{len(images)} columns of images" if images else "no column of images"
        raise InvalidInput(f"data.name={config.name}: {which}, of {there}; data.image_column=NAME says which")
    if len(labels) > 1:
        which = f"several columns of labels, {', '.join(labels)}"
        raise InvalidInput(f"data.name={config.name}: {which}; data.label_column=NAME says which")
    return images[0], labels[0] if labels else None


def _namer(feature: Any) -> Callable[[Any], str | None]:
    """From a label to the name of its class, which is a folder's; None for images that have none."""
    names = getattr(feature, "names", None)
    known: dict[str, str] = {}

    def name(label: Any) -> str | None:
        if label is None or (names is not None and label == -1):
            return None
        said = str(names[label] if names is not None else label)
        safe = re.sub(r"[/\\\x00-\x1f:]+", "_", said).strip() or "_"
        safe = f"_{safe}" if safe.startswith(".") or safe.lower() in LEFT_BEHIND else safe
        if known.setdefault(safe, said) != said:
            raise InvalidInput(f"the classes {known[safe]!r} and {said!r} would have one folder, {safe}")
        return safe

    return name


def _rows(split: Any, images: str, label: str | None) -> Iterator[tuple[bytes, Any]]:
    """The content of each image's file and its label."""
    from datasets import Image as ImageColumn

    columns = [images, *([label] if label is not None and label in split.column_names else [])]
    for row in split.select_columns(columns).cast_column(images, ImageColumn(decode=False)):
        stored = row[images]
        content = stored["bytes"] if stored["bytes"] is not None else Path(stored["path"]).read_bytes()
        yield content, row.get(label)


def _suffix(content: bytes) -> str:
    """The suffix of an image file, by what is in it."""
    try:
        with Image.open(io.BytesIO(content), formats=formats()) as image:
            return SUFFIXES[str(image.format)][0]
    except Exception as error:  # decoders meet broken files with whatever exception comes first
        raise InvalidInput(f"an image of {len(content):,} bytes cannot be read: {one_line(error)}") from error
