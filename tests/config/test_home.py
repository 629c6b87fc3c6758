"""``~`` before Hydra's grammar; tests/command has it in the place of a home directory."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from simclr.config.home import quoted


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("data.root=~/flowers", ["~/flowers"]),
        ("+data.root=~", ["~"]),
        ("data.root=~/two words", ["~/two words"]),
        ("data.root=~/it's", ["~/it's"]),
        ("data.root=~/a (1)", ["~/a (1)"]),
        ("data.root=~somebody/a=b", ["~somebody/a=b"]),
        ("data.root=~/a, ~/b,c", ["~/a", "~/b", "c"]),
        ("data.root='~/a','x,~/b'", ["~/a", "x,~/b"]),
        ('data.root="~/a"', ["~/a"]),
        ("data.root=a~/b", None),
        ("probe.layer=-4", [-4]),
    ],
)
def test_a_value_that_begins_with_it_is_a_value_for_hydra(typed, means):
    (made,) = quoted([typed])
    if means is None or "~" not in typed:
        assert made == typed
        return
    (override,) = OverridesParser.create().parse_overrides([made])
    values = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
    assert [getattr(each, "text", each) for each in values] == means


def test_what_is_hydras_own_has_it_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    given = ["--config-dir=~/cell", "--config-dir", "hydra.sweep.dir=~/grids", "~launch", "-m"]
    assert quoted(given) == ["--config-dir=/home/me/cell", *given[1:2], "hydra.sweep.dir='/home/me/grids'", *given[3:]]
