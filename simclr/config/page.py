"""``docs/configuration.md``, made from the schema and from the comments and values of ``conf/``.

What a key is for stands in the schema below it, as a text of its own, where whoever reads the schema finds it as well.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from simclr.config.compose import CONF
from simclr.config.schema import Config
from simclr.config.setting import Decides, kind

INTRODUCTION = """\
# Configuration

Every key, typed as `KEY=VALUE` behind `python run.py`. This page is made by `python -m simclr.config` from
the schema in `simclr/config/` and `conf/`.

- **Range** of a list: of each of its numbers.
- **Default**: "encoder's" and the like is said of a value that the chosen option of that group brings. Shown is what
  the default option brings; the files in `conf/` have those of the others. A key's name stands for that key's value.
- **Decides**: *weights* makes another pretraining; *images* chooses images, and other images make another pretraining
  (the same ones under another name do not); *cell* makes another measurement of the same one; *nothing* changes where
  and how the work is done, or what is measured beside it.

`python run.py --cfg job` prints the whole configuration that a command line means, without running it.
"""


def page() -> str:
    """The page, in Markdown."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        defaults: Any = OmegaConf.to_container(compose("config"))
    sections = [each for each in dataclasses.fields(Config) if "decides" not in each.metadata]
    parts = [INTRODUCTION, *_groups()]
    for each in sections:
        schema: Any = each.default_factory
        parts += _section(each.name, schema, defaults[each.name])
    return "\n".join([*parts, *_section("", Config, defaults)])


def purposes(schema: type) -> dict[str, str]:
    """What each field of a schema class is for: the text below it, or below the one that it inherits."""
    found = {}
    for each in reversed(schema.__mro__[:-1]):
        (made,) = ast.parse(inspect.getsource(each)).body
        assert isinstance(made, ast.ClassDef)
        for field, text in zip(made.body, made.body[1:], strict=False):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(purpose))):
                    found[name] = purpose
    return found


def _groups() -> Iterator[str]:
    yield "## Groups\n\n`GROUP=OPTION` sets several keys at once. An option is a file, `conf/GROUP/OPTION.yaml`.\n"
    yield "| option | |\n|---|---|"
    chosen = {key: option for each in _read(CONF / "config.yaml")["defaults"] if isinstance(each, dict)
              for key, option in each.items()}  # fmt: skip
    for folder in sorted(each for each in CONF.iterdir() if each.is_dir()):
        files = sorted(folder.glob("*.yaml"), key=lambda file: (file.stem != chosen.get(folder.name), file.stem))
        for file in files:
            default = " (default)" if file.stem == chosen.get(folder.name) else ""
            yield f"| `{folder.name}={file.stem}`{default} | {_cell(_comment(file))} |"
    yield ""


def _comment(file: Path) -> str:
    """What an option's file says of itself at its beginning."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("# @package")]
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.removeprefix("# ") for line in lines[:end])


def _section(name: str, schema: type, defaults: dict[str, Any]) -> Iterator[str]:
    prefix, brought, says = (f"{name}." if name else ""), _brought(name), purposes(schema)
    heading = f"`{name}`" if name else "The run itself"
    yield f"## {heading}\n\n{schema.__doc__ if name else ''}\n".replace("\n\n\n", "\n")
    yield "| key | type | range | default | decides | |\n|---|---|---|---|---|---|"
    for each in dataclasses.fields(schema):
        if not isinstance(decides := each.metadata.get("decides"), Decides):
            continue
        default = _default(defaults[each.name]) + (f", {name}'s" if each.name in brought else "")
        valid = "; ".join(str(part) for part in (each.metadata["valid"], each.metadata["unit"]) if part)
        cells = (f"`{prefix}{each.name}`", kind(each).removeprefix("a "), valid, default, decides.name.lower())
        yield "| " + " | ".join(map(_cell, (*cells, says[each.name]))) + " |"
    yield ""


def _brought(section: str) -> set[str]:
    """The keys of a section that options of the group of this name set."""
    found: set[str] = set()
    for file in (CONF / section).glob("*.yaml") if section else ():
        values = _read(file)
        found |= set(values.get(section, {}) if "@package _global_" in file.read_text() else values)
    return found


def _read(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text()) or {}


def _default(written: Any) -> str:
    """A value as it is typed, a key's name where it is that key's.

    >>> _default(None), _default(True), _default(0), _default([["${data.image_size}", 1.0]])
    ('null', 'true', '0', '[[data.image_size, 1.0]]')
    """
    if written is None or isinstance(written, bool):
        return "null" if written is None else str(written).lower()
    return re.sub(r"\$\{([\w.]+)\}", r"\1", str(written)).replace("'", "")


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
