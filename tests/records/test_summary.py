"""The table at the end of a run."""

from __future__ import annotations

import io

from rich.console import Console

from simclr.records.summary import print_summary


def shown(record: dict) -> str:
    stream = io.StringIO()
    print_summary(record, Console(file=stream, width=100))
    return stream.getvalue()


def accuracy(mean: float) -> dict:
    return {"mean": mean, "std": 0.01, "ci95": [mean - 0.02, mean + 0.02], "values": [mean]}


CELL = {
    "data": "digits",
    "encoder": "small_cnn",
    "head": "two_relu",
    "probe": "linear",
    "layer": {"index": -4, "name": "relu_1", "width": 256},
    "seed": 0,
    "label_fraction": 0.1,
}


def test_accuracy_stands_beside_its_baselines_with_intervals():
    text = shown(
        {
            "status": "finished",
            "cell": CELL,
            "probe": {"test_accuracy": accuracy(0.951)},
            "baselines": {"untrained": accuracy(0.886), "pixels": accuracy(0.885)},
            "pretraining": {"epochs": 40, "images_per_second": 2000.0, "precision": "float32", "compiling": 12.3},
            "timing": {"pretraining": 25.0, "probes": 3.0},
            "seconds": 30.0,
        }
    )
    rows = [line for line in text.splitlines() if "0." in line]
    assert "relu_1 (-4), pretrained" in text
    assert any("0.951" in row and "0.931 to 0.971" in row for row in rows)
    assert any("before the first step" in row and "0.886" in row for row in rows)
    assert any("raw pixels" in row and "0.885" in row for row in rows)
    told = " ".join(text.split())
    assert (
        "40 epochs at 2,000 images/s in float32 (and 12 s of compiling); pretraining 25.0 s, probes 3.0 s; 30" in told
    )


def test_a_skipped_cell_gives_its_reason_as_it_is():
    text = shown({"status": "skipped", "cell": CELL, "error": "probe.layer=[-6] is not there"})
    assert text == "skipped: probe.layer=[-6] is not there\n"
