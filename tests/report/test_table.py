"""The table in its forms."""

from __future__ import annotations

import csv
import io

from rich.console import Console

from simclr.report.table import latex, terminal
from simclr.report.write import write
from tests.report.constructed import build, grid


def lines(written, name):
    return (written.page.parent / name).read_text().splitlines()


def test_markdown_has_a_row_per_group_and_the_documents_beside(written):
    rows = [line for line in lines(written, "table.md") if line.startswith("| ")]
    assert len(rows) == 2 + 5
    assert rows[0].count("|") == rows[1].count("|") == rows[2].count("|")
    assert any("relu_1 (-4)" in row and "0.304 (0.452)" in row for row in rows)
    text = "\n".join(lines(written, "table.md"))
    assert "one seed" in text
    assert "stopped on the test set" in text
    assert "500 training images" in text


def test_latex_has_booktabs_and_no_letter_that_latex_reads_otherwise(written):
    text = latex(written.table)
    assert r"\toprule" in text
    assert r"two\_relu" in text
    assert r"95 \%" in text
    assert "\u2212" not in text


def test_csv_is_tidy_with_a_row_per_cell(written):
    rows = list(csv.DictReader(lines(written, "cells.csv")))
    finished = [row for row in rows if row["status"] == "finished"]
    assert len(rows) == 15 + 8
    assert len(finished) == 15
    assert {row["seed"] for row in finished} == {"0", "1", "2"}
    assert all(float(row["test_accuracy_low"]) < float(row["test_accuracy"]) for row in finished)
    assert {row["reason"] for row in rows if row["status"] == "failed"} == {"<b>out</b> of memory"}


def test_a_text_in_a_csv_is_no_formula_to_a_spreadsheet(tmp_path, without_pictures):
    root = build(tmp_path, grid({("two_relu", "encoder"): 0.5}, seeds=(0,), probe__layer="=1+1"))
    (root / "results" / "=cmd()").mkdir()
    written = write(root)
    rows = list(csv.DictReader(lines(written, "cells.csv")))
    assert {row["cell"][:1] for row in rows} == {"i", "'"}
    texts = [text for row in rows for text in row.values() if text and text[0] in "=+-@"]
    assert all(float(text) < 0 for text in texts)  # such as the uniformity


def test_a_narrow_terminal_leaves_columns_out_and_says_so(written):
    wide, narrow = io.StringIO(), io.StringIO()
    Console(file=wide, width=140).print(terminal(written.table, 140))
    Console(file=narrow, width=80).print(terminal(written.table, 80))
    assert "documents*" in wide.getvalue()
    assert "table.md" in narrow.getvalue()
    assert all("…" not in text.getvalue() for text in (wide, narrow))


def test_a_setting_of_the_grid_has_a_column_that_fits_a_narrow_terminal_whole(tmp_path, without_pictures):
    cells = [
        cell for share in (0.1, 1) for cell in grid({("two_relu", "projection"): 0.5}, probe__label_fraction=share)
    ]
    narrow = io.StringIO()
    Console(file=narrow, width=80).print(terminal(write(build(tmp_path, cells)).table, 80))
    heading, rows = narrow.getvalue().split("─", 1)
    assert [part in heading for part in ("probe.", "label_", "fraction", "untrained", "pixels")] == [True] * 5
    assert rows.count("two_relu   projection") == 2
    assert rows.count("]  ") == 2
