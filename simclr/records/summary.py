"""The short table that a person reads at the end of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def labels_in_words(fraction: float) -> str:
    """Of how many labels a probe knew.

    >>> labels_in_words(0.1), labels_in_words(1.0)
    ('0.1 of the labels', 'all labels')
    """
    return "all labels" if fraction == 1 else f"{fraction:.3g} of the labels"


def count_of(count: int, what: str) -> str:
    """A number of things.

    >>> count_of(1, "cell"), count_of(9, "cell")
    ('1 cell', '9 cells')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"


def print_summary(record: dict[str, Any], console: Console | None = None) -> None:
    """What was run, its accuracy beside the two baselines, and where the time went."""
    console = console or Console(soft_wrap=True, highlight=False)
    cell = record["cell"]
    layer = cell["layer"]
    named = layer["name"] if layer["index"] is None else f"{layer['name']} ({layer['index']})"
    if record["status"] == "skipped":
        console.print(f"skipped: {record['error']}", markup=False)
        return
    trained_on = cell["data"] if not cell.get("transfer") else f"{cell['data']}, probed on {cell['transfer']}"
    if record["probe"] is None:
        _print_unprobed(record, named, console)
        return
    table = Table(title=f"{trained_on}, {cell['encoder']}, head {cell['head']}, seed {cell['seed']}", min_width=60)
    table.add_column(f"{cell['probe']} probe, {labels_in_words(cell['label_fraction'])}")
    held_out = record.get("data", {}).get("validation") and not cell.get("transfer")
    table.add_column("validation accuracy" if held_out else "test accuracy", justify="right")
    table.add_column("95 % interval", justify="right")
    untrained = "from its first weights" if cell["probe"] == "finetune" else "before the first step"
    rows = {
        f"{named}, pretrained": record["probe"]["test_accuracy"],
        "class among its five best": record["probe"].get("top5_accuracy"),
        f"{named}, {untrained}": record["baselines"]["untrained"],
        "raw pixels": record["baselines"]["pixels"],
        "supervised, same labels": record["baselines"].get("supervised_subset"),
        "supervised, all labels": record["baselines"].get("supervised_all"),
    }
    for name, accuracy in rows.items():
        if accuracy is None:
            continue
        low, high = accuracy["ci95"]
        table.add_row(name, f"{accuracy['mean']:.3f}", f"{low:.3f} to {high:.3f}")
    console.print(table)
    if record["probe"]["test_accuracy"].get("counts") == ["images"] and cell["label_fraction"] < 1:
        console.print("One draw of labels: the intervals leave its choice out.", markup=False)
    _print_times(record, console)


def _print_unprobed(record: dict[str, Any], layer: str, console: Console) -> None:
    """Of a cell that nothing is asked of: what its representation is like, and how to take the network along."""
    cell, key = record["cell"], record["pretraining"]["key"]
    table = Table(title=f"{cell['data']}, {cell['encoder']}, head {cell['head']}, seed {cell['seed']}", min_width=60)
    table.add_column(f"{layer}, no probe")
    table.add_column("", justify="right")
    for name, value in record["representation"].items():
        if value is not None:
            table.add_row(name.replace("_", " "), f"{value:.3f}")
    console.print(table)
    root = Path(record["path"]).parents[2]
    where = "" if str(root) == "runs" else f" --root {root}"
    console.print(
        f"python -m simclr.store export {key} DIR{where}    the network for Keras and TensorFlow", markup=False
    )
    console.print(f"python -m simclr.store embed {key} FOLDER --out features.npz{where}    its features", markup=False)
    _print_times(record, console)


def _print_times(record: dict[str, Any], console: Console) -> None:
    spent = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in record["timing"].items())
    pretraining = record["pretraining"]
    compiling = pretraining.get("compiling") or 0.0
    console.print(
        f"{count_of(pretraining['epochs'], 'epoch')} at {pretraining['images_per_second']:,.0f} images/s in "
        f"{pretraining['precision']}{f' (and {compiling:.0f} s of compiling)' if compiling >= 1 else ''}; "
        f"{spent}; {record['seconds']:.1f} s in all",
        markup=False,
    )
