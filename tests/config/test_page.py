"""The page that says what every key is for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

from simclr.config import Config, settings
from simclr.config.page import page, purposes
from tests.conftest import REPOSITORY


def test_the_page_is_what_the_schema_says():
    stale = "docs/configuration.md is stale: python -m simclr.config > docs/configuration.md"
    assert (REPOSITORY / "docs" / "configuration.md").read_text() == page(), stale


def test_every_key_says_what_it_is_for():
    sections = [each.default_factory for each in fields(Config) if "decides" not in each.metadata]
    for schema in [*sections, Config]:
        needed = {each.name for each in fields(schema) if "decides" in each.metadata}
        told = purposes(schema)
        assert needed == set(told)
        assert all(sentence[-1] == "." and "\n" not in sentence for sentence in told.values())


def test_the_page_has_every_key_once():
    keys = [
        line.split("`")[1] for line in page().splitlines() if line.startswith("| `") and "=" not in line.split("`")[1]
    ]
    assert sorted(keys) == sorted(key for key, _, _ in settings(Config))


def test_the_command_prints_the_page(tmp_path):
    command = [sys.executable, "-m", "simclr.config"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout == page()
