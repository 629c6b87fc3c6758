"""``answer.json`` and ``simclr.answer``: all that is said, for other programs."""

from __future__ import annotations

import json
import re

import pytest

import simclr
from tests.report.constructed import build, grid

TRUTH = {("two_relu", "encoder"): 1.6, ("two_relu", "projection"): 0.2, ("none", "encoder"): 0.4}


def test_it_is_what_the_report_writes(written):
    root = written.page.parents[1]
    assert json.loads((root / "report" / "answer.json").read_text()) == simclr.answer(root)


def test_it_says_what_was_compared_with_what(tmp_path):
    (panel,) = simclr.answer(build(tmp_path, grid(TRUTH)))["panels"]
    assert (panel["data"], panel["part"], panel["label_fraction"], panel["seeds"]) == (
        "imagenet5", "test", 0.1, [0, 1, 2],
    )  # fmt: skip
    kinds = [each["kind"] for each in panel["statements"]]
    assert {kind: kinds.count(kind) for kind in kinds} == {"layers": 1, "networks": 2, "untrained": 3, "pixels": 3}
    best = panel["standings"][0]
    assert best["accuracy"]["ci95"][0] < best["accuracy"]["mean"] < best["accuracy"]["ci95"][1]
    assert best["ranks"][0] == 1
    assert sum(each["best"] for each in panel["standings"]) == pytest.approx(1)
    assert len(best["cells"]) == 3
    for statement in panel["statements"]:
        assert len(statement["cells"]) == (2 if statement["kind"] in ("layers", "networks") else 1)
        assert all(len(side) == 3 for side in statement["cells"])
        assert statement["ci95"][0] <= statement["difference"] <= statement["ci95"][1]
        assert statement["claimed"] is (statement["p_adjusted"] < 0.05)
        assert statement["family"] == 3


def test_one_seed_makes_no_statement_of_networks(tmp_path):
    (panel,) = simclr.answer(build(tmp_path, grid(TRUTH, seeds=(0,))))["panels"]
    assert "networks" not in {each["kind"] for each in panel["statements"]}
    assert all(each["best"] is None and each["ranks"] is None for each in panel["standings"])
    assert set(panel["prospects"]) == {"2", "3"}


def test_words_say_no_difference_that_is_not_in_it(written):
    """Every ``+0.17 [+0.13, +0.21]`` of the sentences, to the digits that it is printed with."""
    root = written.page.parents[1]
    said = " ".join(sentence for each in written.answers for sentence in (each.headline, *each.sentences))
    told = [statement for panel in simclr.answer(root)["panels"] for statement in panel["statements"]]
    known = set()
    for each in told:
        for sign in (1, -1):
            values = sorted([sign * each["ci95"][0], sign * each["ci95"][1]])
            for digits in (2, 3):
                known.add(tuple(round(value, digits) + 0.0 for value in (sign * each["difference"], *values)))
    printed = re.findall(r"([+\u2212]\d\.\d+) \[([+\u2212]\d\.\d+), ([+\u2212]\d\.\d+)\]", said)
    assert printed
    for numbers in printed:
        assert tuple(float(each.replace("\u2212", "-")) + 0.0 for each in numbers) in known


def test_an_empty_root_says_nothing(tmp_path):
    assert simclr.answer(tmp_path) == {"schema": 1, "panels": [], "asked": []}
