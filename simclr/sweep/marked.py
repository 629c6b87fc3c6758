"""YAML whose every part knows its line, for complaints that a person can act on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from simclr.foundation.errors import InvalidInput, one_line, suggestion


class Marked:
    """A YAML file and its nodes.

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

    def mapping(self, node: yaml.Node, what: str = "", at: yaml.Node | None = None) -> Entries:
        """A mapping's entries, merges (``<<: *anchor``) done; a key that is there twice is refused.

        Args:
            node: the mapping's.
            what: it is, in complaints; nothing for the file as a whole.
            at: the node to blame for what is missing, by default the mapping's own.
        """
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"{what or 'a sweep file'}: keys with values are needed")
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                self.fail(key, f"{key.value}: is there twice")
            seen.add(str(key.value))
        self._loader.flatten_mapping(node)
        return Entries(self, what, at or node, {str(key.value): (key, value) for key, value in node.value})

    def value(self, node: yaml.Node) -> Any:
        """What a node stands for, in Python."""
        try:
            return self._loader.construct_object(node, deep=True)
        except yaml.YAMLError as error:
            self.fail(node, getattr(error, "problem", None) or one_line(error))

    def fail(self, node: yaml.Node, text: str) -> NoReturn:
        """Refuse a part of the file, naming its line."""
        raise InvalidInput(f"{self.path}, line {node.start_mark.line + 1}: {text}")


@dataclass(frozen=True)
class Entries:
    """What a mapping holds: by key, the nodes of the key and of the value."""

    file: Marked
    what: str
    at: yaml.Node
    nodes: Mapping[str, tuple[yaml.Node, yaml.Node]]

    def __contains__(self, key: str) -> bool:
        return key in self.nodes

    def mapping(self, key: str) -> Entries:
        """A value that has to be a mapping itself."""
        at, node = self.nodes[key]
        return self.file.mapping(node, f"{self.what}: {key}" if self.what else key, at)

    def value(self, key: str, default: Any = None) -> Any:
        """A value, in Python."""
        return self.file.value(self.nodes[key][1]) if key in self else default

    def number(self, key: str, default: float = math.nan) -> float:
        """A value that has to be a finite number."""
        if key not in self:
            return default
        given = self.value(key)
        try:
            # YAML 1.1 takes 1e-4 for a word
            number = float("nan" if isinstance(given, bool) else given)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            self.fail(f"{given}: valid is a number", key)
        return number

    def whole(self, key: str, least: float = -math.inf) -> int:
        """A value that has to be there, and a whole number."""
        number = self.number(key)
        if number != int(number) or number < least:
            at_least = f", at least {least:g}" if math.isfinite(least) else ""
            self.fail(f"{number:g}: valid is a whole number{at_least}", key)
        return int(number)

    def only(self, known: Sequence[str], of: str = "", wandb_only: Sequence[str] = ()) -> None:
        """Refuse a key that is none of the known ones, saying so where W&B would understand it."""
        for key in self.nodes:
            if key in wandb_only:
                self.fail("W&B understands this, a sweep without its server does not", key)
            if key not in known:
                place = "" if self.what else " in a sweep file"
                valid = f"valid is {', '.join(known)}.{suggestion(key, known)}"
                self.fail(f"there is no such key{place}; {valid}", key, of)

    def fail(self, text: str, key: str = "", of: str = "") -> NoReturn:
        """Refuse what stands under a key, or the whole where there is none; with the line."""
        at, *_ = self.nodes.get(key, (self.at,))
        self.file.fail(at, ": ".join(part for part in (self.what, of, key, text) if part))
