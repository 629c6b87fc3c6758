"""What an inquiry says in words, and the file that tells it to those who come later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from simclr.foundation.files import make_folder, write_whole
from simclr.records.summary import count_of
from simclr.report.sequential import BEATS_PIXELS, BEST, Inquiry
from simclr.report.standing import PIXELS, UNTRAINED

ASKED = "question.json"
MOST_NAMED = 6


@dataclass(frozen=True)
class Cost:
    """Pretrainings: those that the inquiry has used, and those of every seed of every one of its ``contenders``."""

    used: int
    full: int
    contenders: int


def said(inquiry: Inquiry, cost: Cost) -> list[str]:
    """The state of an inquiry and what it knows, a sentence each."""
    question = inquiry.question
    asked = f"answer={question.answer}{f' by={question.by}' if question.by else ''}"
    rounds = count_of(inquiry.seeds - 1, "round")
    spent = f"{cost.used} of {cost.full} pretrainings"
    if not inquiry.seeds:
        most = f"{count_of(cost.contenders, 'contender')} with up to {question.seeds} seeds each"
        return [f"{asked}: not begun; {most}, {cost.full} pretrainings at most"]
    if inquiry.asked:
        waiting = listed(inquiry, inquiry.asked)
        state = f"after {rounds} and {spent} still open between {waiting}"
    elif inquiry.settled:
        state = f"settled after {rounds} and {spent}"
    else:
        why = "max_seeds is reached" if inquiry.seeds >= question.seeds else "cells failed"
        state = f"not settled after {rounds} and {spent}: {why}"
    answers = {BEST: _best, BEATS_PIXELS: _beats}.get(question.answer, _order)(inquiry)
    return [f"{asked}: {state}", *answers]


def label(inquiry: Inquiry, place: int) -> str:
    """A contender by what it has of its own."""
    return " ".join(f"{name}={value}" for name, value in inquiry.contenders[place].at.items()) or "the only setting"


def listed(inquiry: Inquiry, places: Sequence[int]) -> str:
    """Some contenders by name, the first few of many."""
    named = ", ".join(label(inquiry, place) for place in places[:MOST_NAMED])
    return named + (f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else "")


def _best(inquiry: Inquiry) -> list[str]:
    left, others = inquiry.unbeaten(), len(inquiry.contenders)
    if len(left) == 1:
        return [f"{label(inquiry, left[0])} is the best of {others}"]
    among = [each for each in inquiry.comparisons if {each.first, each.second} <= set(left)]
    if inquiry.settled:
        return [f"the best of {others} are {listed(inquiry, left)}, the same to within {inquiry.question.smallest:g}"]
    missed = max((max(-each.low, each.high) for each in among), default=0.0)
    return [
        f"not told from the best of {others}: {listed(inquiry, left)}; "
        f"differences up to {missed:.2g} between them could still be missed"
    ]


def _order(inquiry: Inquiry) -> list[str]:
    """A sentence for each place on the other factors: ``a > b = c ? d``."""
    by = str(inquiry.question.by)
    blocks: dict[str, list[int]] = {}
    for place, contender in enumerate(inquiry.contenders):
        elsewhere = " ".join(f"{name}={value}" for name, value in contender.at.items() if name != by)
        blocks.setdefault(elsewhere, []).append(place)
    between = {(each.first, each.second): each for each in inquiry.comparisons}
    lines = []
    for elsewhere, places in blocks.items():
        means = {place: float(inquiry.contenders[place].answers[0].mean()) for place in places}
        ordered = sorted(places, key=lambda place: -means[place])
        text = inquiry.contenders[ordered[0]].at[by]
        for higher, lower in pairwise(ordered):
            pair = between.get((min(higher, lower), max(higher, lower)))
            sign = "?" if pair is None else ">" if pair.above else "=" if pair.same(inquiry.question.smallest) else "?"
            text += f" {sign} {inquiry.contenders[lower].at[by]}"
        lines.append(f"{by}{f' at {elsewhere}' if elsewhere else ''}: {text}")
    return [*lines, f"(>: above; =: the same to within {inquiry.question.smallest:g}; ?: not told apart)"]


def _beats(inquiry: Inquiry) -> list[str]:
    lines = []
    for baseline, name in ((UNTRAINED, "the untrained network"), (PIXELS, "raw pixels")):
        for verb, sign in (("above", 1), ("below", -1), ("not told from", 0)):
            found = [each.first for each in inquiry.comparisons if each.second == baseline and each.above == sign]
            if found:
                lines.append(f"{verb} {name}: {listed(inquiry, found)}")
    return lines


def write(folder: Path, inquiry: Inquiry, cost: Cost) -> None:
    """Keep the state of an inquiry for ``status`` and the report, in the folder of its grid.

    Raises:
        OSError: it cannot be written.
    """
    make_folder(folder)
    content: dict[str, Any] = {"schema": 1, "over": not inquiry.asked, "said": said(inquiry, cost)}
    write_whole(folder / ASKED, json.dumps(content, indent=1).encode())


def read(root: str | Path) -> list[list[str]]:
    """What the inquiries below a root say, each as :func:`said` has it; one that cannot be read is left out."""
    found = []
    for path in sorted((Path(root) / "grids").glob(f"*/{ASKED}")):
        try:
            lines = json.loads(path.read_bytes())["said"]
        except (OSError, ValueError, TypeError, KeyError):
            continue
        if isinstance(lines, list) and all(isinstance(line, str) for line in lines):
            found.append(lines)
    return found
