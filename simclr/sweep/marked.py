"""YAML whose every part knows its line, for complaints that a person can act on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from simclr.foundation.errors import InvalidInput, one_line, suggestion

Entries = dict[str, tuple[yaml.Node, yaml.Node]]
"""What a mapping holds: the nodes of the key and of the value, by key."""


class Marked:
    """A YAML file and its nodes.

    Args:
        path: of the file.

    Raises:
        InvalidInput: it cannot be read or is not YAML.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._loader = yaml.SafeLoader(self.path.read_text())
            root = self._loader.get_single_node()
        except OSError as error:
            raise InvalidInput(f"{self.path}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{self.path}: is not text") from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            raise InvalidInput(f"{self.path}{line}: {getattr(error, 'problem', None) or one_line(error)}") from error

        if root is None:
            raise InvalidInput(f"{self.path}: is empty")
        self.root = root

    def mapping(self, node: yaml.Node, what: str) -> Entries:
        """A mapping's entries, merges (``<<: *anchor``) done; a key that is there twice is refused."""
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"{what}: keys with values are needed")
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                self.fail(key, f"{key.value}: is there twice")
            seen.add(str(key.value))
        self._loader.flatten_mapping(node)
        return {str(key.value): (key, value) for key, value in node.value}

    def only(self, entries: Entries, known: Sequence[str], what: str, wandb_only: Sequence[str] = ()) -> None:
        """Refuse a key that is none of the known ones, saying so where W&B would understand it."""
        for key, (at, _) in entries.items():
            if key in wandb_only:
                self.fail(at, f"{what}: {key}: W&B understands this, a sweep without its server does not")
            if key not in known:
                valid = f"valid is {', '.join(known)}.{suggestion(key, known)}"
                self.fail(at, f"{what}: {key}: there is no such key; {valid}")

    def value(self, node: yaml.Node) -> Any:
        """What a node stands for, in Python."""
        try:
            return self._loader.construct_object(node, deep=True)
        except yaml.YAMLError as error:
            self.fail(node, getattr(error, "problem", None) or one_line(error))

    def text(self, entries: Entries, key: str) -> str | None:
        """A value as text, where there is one."""
        return str(self.value(entries[key][1])) if key in entries else None

    def number(self, entries: Entries, key: str) -> float:
        """A value that has to be a finite number."""
        given = self.value(entries[key][1])
        try:
            # YAML 1.1 takes 1e-4 for a word
            number = float("nan" if isinstance(given, bool) else given)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            self.fail(entries[key][0], f"{key}: {given}: valid is a number")
        return number

    def whole(self, entries: Entries, key: str, least: float = -math.inf) -> int:
        """A value that has to be a whole number."""
        number = self.number(entries, key)
        if number != int(number) or number < least:
            at_least = f", at least {least:g}" if math.isfinite(least) else ""
            self.fail(entries[key][0], f"{key}: {number:g}: valid is a whole number{at_least}")
        return int(number)

    def fail(self, node: yaml.Node, text: str) -> NoReturn:
        """Refuse a part of the file, naming its line."""
        raise InvalidInput(f"{self.path}, line {node.start_mark.line + 1}: {text}")
