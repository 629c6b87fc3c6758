"""``~`` for the home directory, wherever a path is typed.

A shell puts the home directory in the place of a ``~`` that begins a word, and leaves ``data.root=~/flowers`` alone;
there Hydra's grammar refuses the sign. So such values are quoted before Hydra parses them, and expanded where paths are
read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import OmegaConf

# A text in quotes, to be passed over; or a value, one of several with commas, that begins with the sign.
_VALUE = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(?<![^,])(\s*)(~[^,]*)""")


def quoted(arguments: Sequence[str]) -> list[str]:
    """A command line on which Hydra understands values that begin with ``~``, and options have them expanded.

    >>> quoted(["data.root=~/flowers", "root=~,~/b", "~launch", "--config-dir=~root/c", "head=none"])[:3]
    ["data.root='~/flowers'", "root='~','~/b'", '~launch']
    """
    return [_quoted(text) for text in arguments]


def _quoted(text: str) -> str:
    key, equals, value = text.partition("=")
    if key.startswith("-"):
        return f"{key}{equals}{expanded(value)}"
    return f"{key}{equals}{_VALUE.sub(_in_quotes, value)}"


def _in_quotes(found: re.Match[str]) -> str:
    if found[2] is None:
        return found[0]
    return found[1] + QuotedString(text=found[2].rstrip(), quote=Quote.single).with_quotes()


def expanded(path: str) -> str:
    """A path with the home directory in place of the ``~`` that it begins with."""
    return os.path.expanduser(path)  # noqa: PTH111 - a text stays as it is typed, "./runs" and "runs/" too


# For the folders in conf/config.yaml that lie below the root and are Hydra's to make.
OmegaConf.register_new_resolver("home", expanded, replace=True)
