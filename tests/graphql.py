"""Just enough GraphQL to answer a client that knows its server's schema: parse a request, pick its fields out of data.

Data is dictionaries, lists and values; a callable is a field with arguments. A field that the data does not have is
null, as an optional field of a schema is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(r'\s*(?:#[^\n]*|,|(\.\.\.|"""(?:.|\n)*?"""|"(?:\\.|[^"\\])*"|[-\w.]+|[!$()\[\]{}:=@|]))')


@dataclass(frozen=True)
class Field:
    """A selected field, under its alias, with arguments whose variables are still to be filled in."""

    alias: str
    name: str
    arguments: dict[str, Any]
    selections: tuple[Any, ...]


@dataclass(frozen=True)
class Spread:
    """``...Name``: the fields of a fragment."""

    fragment: str


@dataclass(frozen=True)
class Variable:
    """``$name``."""

    name: str


@dataclass(frozen=True)
class Request:
    """An operation: ``query`` or ``mutation``, its name, what it selects, and its fragments by name."""

    kind: str
    name: str
    selections: tuple[Any, ...]
    fragments: dict[str, tuple[Any, ...]]


def parse(text: str) -> Request:
    """Read a request of one operation and any fragments."""
    return _Parser(text).request()


def answer(request: Request, variables: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """What the request selects of the data, in the shape that it asks for."""
    return _pick(request.selections, data, variables, request.fragments)


def _pick(selections: tuple[Any, ...], data: Any, variables: dict[str, Any], fragments: dict[str, Any]) -> Any:
    if data is None or not selections:
        return data
    if isinstance(data, (list, tuple)):
        return [_pick(selections, each, variables, fragments) for each in data]
    picked: dict[str, Any] = {}
    for each in selections:
        if isinstance(each, Spread):
            picked.update(_pick(fragments[each.fragment], data, variables, fragments))
        elif isinstance(each, tuple):
            picked.update(_pick(each, data, variables, fragments))
        else:
            value = data.get(each.name)
            if callable(value):
                value = value(**_filled(each.arguments, variables))
            picked[each.alias] = _pick(each.selections, value, variables, fragments)
    return picked


def _filled(value: Any, variables: dict[str, Any]) -> Any:
    if isinstance(value, Variable):
        return variables.get(value.name)
    if isinstance(value, dict):
        return {key: _filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    return value


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = [token for token in _TOKEN.findall(text) if token]
        self._at = 0

    def request(self) -> Request:
        kind = name = ""
        selections: tuple[Any, ...] = ()
        fragments: dict[str, tuple[Any, ...]] = {}
        while self._at < len(self._tokens):
            word = self._next()
            if word == "fragment":
                fragment = self._next()
                self._next(), self._next()  # on Type
                fragments[fragment] = self._selections()
            else:
                kind, name = word, self._next()
                if self._peek() == "(":
                    self._skip_parentheses()
                selections = self._selections()
        return Request(kind, name, selections, fragments)

    def _selections(self) -> tuple[Any, ...]:
        assert self._next() == "{"
        found: list[Any] = []
        while self._peek() != "}":
            if self._peek() == "...":
                self._next()
                if self._peek() == "on":
                    self._next(), self._next()
                    found.append(self._selections())
                else:
                    found.append(Spread(self._next()))
                    self._directives()
            else:
                found.append(self._field())
        self._next()
        return tuple(found)

    def _field(self) -> Field:
        alias = name = self._next()
        if self._peek() == ":":
            self._next()
            name = self._next()
        arguments = {}
        if self._peek() == "(":
            self._next()
            while self._peek() != ")":
                key = self._next()
                self._next()
                arguments[key] = self._value()
            self._next()
        self._directives()
        return Field(alias, name, arguments, self._selections() if self._peek() == "{" else ())

    def _value(self) -> Any:
        token = self._next()
        if token == "$":
            return Variable(self._next())
        if token == "{":
            given = {}
            while self._peek() != "}":
                key = self._next()
                self._next()
                given[key] = self._value()
            self._next()
            return given
        if token == "[":
            items = []
            while self._peek() != "]":
                items.append(self._value())
            self._next()
            return items
        words = {"true": True, "false": False, "null": None}
        if token in words:
            return words[token]
        if token.startswith('"'):
            return token.strip('"')
        return int(token) if re.fullmatch(r"-?\d+", token) else token

    def _directives(self) -> None:
        """``@include(if: ...)``: a field too many does no harm."""
        while self._peek() == "@":
            self._next(), self._next()
            if self._peek() == "(":
                self._skip_parentheses()

    def _skip_parentheses(self) -> None:
        depth = 0
        while True:
            token = self._next()
            depth += (token == "(") - (token == ")")
            if not depth:
                return

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]
