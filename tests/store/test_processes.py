"""The store as real machines treat it: processes killed, many at once, files damaged, disks full or read-only."""

from __future__ import annotations

import json
import logging
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from simclr import experiment, store
from simclr.foundation.errors import RunFailed
from simclr.foundation.files import MANIFEST, SET_ASIDE, Damaged, sealed
from simclr.foundation.work import holder
from simclr.training.runtime import start_tensorflow
from tests.mounts import SmallDisk, private_mounts, small_disk
from tests.store.commands import TINY, Command, checkpoints, kept, leftovers, numbers
from tests.store.damage import damage


class Reference:
    """An uninterrupted run, and what any other of the same configuration has to end with."""

    def __init__(self, root: Path, work: Path, *overrides: str) -> None:
        self.root, self.overrides = root, overrides
        begun = time.monotonic()
        self.record = Command(root, *overrides, work=work, name="reference").record()
        self.seconds = time.monotonic() - begun
        self.key = self.record["pretraining"]["key"]
        self.kept = kept(root)

    def is_matched_by(self, root: Path, record: dict[str, Any]) -> bool:
        """Whether a run has ended with the same numbers, and the same bytes in every file that holds some."""
        assert numbers(record) == numbers(self.record)
        assert kept(root) == self.kept
        return True

    def copy(self, root: Path, *parts: str) -> Path:
        """Its store at another place, without its results."""
        for part in parts or ("pretrained", "baselines"):
            shutil.copytree(self.root / part, root / part)
        return root


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    return Reference(folder / "runs", folder)


@pytest.fixture(scope="module")
def in_process(composed) -> Callable[..., dict[str, Any]]:
    """``in_process(root, ...)``: the same command in this process, where TensorFlow need not start each time."""
    start_tensorflow(None)

    def run(root: Path, *overrides: str) -> dict[str, Any]:
        return experiment.run(composed(*TINY, *overrides, f"root={root}"))

    return run


def test_an_uninterrupted_run_leaves_what_is_needed_and_nothing_else(reference):
    assert reference.record["status"] == "finished"
    assert reference.record["pretraining"]["reused"] is False
    assert leftovers(reference.root) == []
    folder = reference.root / "pretrained" / reference.key
    assert {path.name for path in folder.iterdir()} == {
        store.WEIGHTS,
        store.HISTORY,
        store.CONFIG,
        MANIFEST,
        "features",
    }


# Killed, and run again


def test_killed_at_any_moment_and_run_again_it_ends_with_the_same_bits(reference, tmp_path):
    root, generator = tmp_path / "runs", random.Random(11)
    for half in range(2):
        command = Command(root, work=tmp_path)
        if command.ends_before(reference.seconds * (half + generator.random()) / 2):
            assert command.process.returncode == 0
        command.kill()
    assert reference.is_matched_by(root, Command(root, work=tmp_path).record())
    assert leftovers(root) == []


def hidden(pattern: str) -> Callable[[Path], bool]:
    return lambda root: any(True for _ in root.glob(pattern))


def publishing(root: Path) -> bool:
    return any(not (path.parent / MANIFEST).exists() for path in root.glob("pretrained/*/network.npz"))


def result_half_there(root: Path) -> bool:
    return any(not (path.parent / "result.json").exists() for path in root.glob("results/*/config.yaml"))


MOMENTS = {
    "data being cached": hidden("data/images/.*"),
    "checkpoint being written": hidden("pretrained/*/.checkpoint.npz.*"),
    "weights being written": hidden("pretrained/*/.network.npz.*"),
    "publishing": publishing,
    "features being written": hidden("pretrained/*/features/*/*/.train.npy.*"),
    "baseline being measured": hidden("baselines/.*.claim/*"),
    "result being written": result_half_there,
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """A folder of small photographs of two classes."""
    generator = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("photographs")
    for split, count in (("train", 150), ("test", 40)):
        for name, shade in (("bright", 170), ("dark", 20)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(shade, shade + 80, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def reference_of_photographs(photographs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference_of_photographs")
    data = ("data=folder", f"data.root={photographs}", "data.image_size=16", "pretrain.batch_size=32")
    return Reference(folder / "runs", folder, *data)


@pytest.mark.slow
def test_killed_at_twenty_moments_of_every_part_of_a_run_it_ends_with_the_same_bits(reference_of_photographs, tmp_path):
    """Thirteen moments are random; seven lie where a file is there that is only there for a while.

    A run that has ended before its moment is compared, and the next one begins anew.
    """
    reference, generator = reference_of_photographs, random.Random(7)
    moments: list[Callable[[Path], bool] | float] = [
        *MOMENTS.values(),
        *(reference.seconds * generator.random() for _ in range(13)),
    ]
    generator.shuffle(moments)
    rounds, killed, missed = 0, 0, []
    while moments:
        root, rounds = tmp_path / f"runs{rounds}", rounds + 1
        while moments:
            moment = moments.pop()
            command = Command(root, *reference.overrides, work=tmp_path)
            if isinstance(moment, float):
                ended = command.ends_before(moment)
            else:
                ended = not command.until(lambda moment=moment, root=root: moment(root), pause=0)
                if ended:
                    missed.append(moment)
            command.kill()
            killed += not ended
            if ended:
                break
        assert reference.is_matched_by(root, Command(root, *reference.overrides, work=tmp_path).record())
    # A moment that had passed before the run that watched for it is watched for from the beginning.
    for number, moment in enumerate(missed):
        root = tmp_path / f"missed{number}"
        command = Command(root, *reference.overrides, work=tmp_path)
        assert command.until(lambda moment=moment, root=root: moment(root), pause=0)
        command.kill()
        killed += 1
        assert reference.is_matched_by(root, Command(root, *reference.overrides, work=tmp_path).record())
    assert killed >= 15


@pytest.mark.parametrize("moment", ["publishing", "features being written", "result being written"])
@pytest.mark.slow
def test_killed_at_the_end_it_leaves_nothing_that_stays(reference, tmp_path, moment):
    root = tmp_path / "runs"
    command = Command(root, work=tmp_path)
    assert command.until(lambda: MOMENTS[moment](root), pause=0)
    command.kill()
    assert reference.is_matched_by(root, Command(root, work=tmp_path).record())
    assert leftovers(root) == []


# Stopped by a signal, and run again


@pytest.mark.slow
def test_stopped_by_one_signal_after_the_other_it_goes_on_and_ends_with_the_same_bits(reference, tmp_path):
    root = tmp_path / "runs"
    steps = [0]
    for sent, code in ((signal.SIGUSR1, 143), (signal.SIGTERM, 143), (signal.SIGINT, 130)):
        command = Command(root, work=tmp_path)
        before = checkpoints(root)
        assert command.until(lambda before=before: checkpoints(root) - before)
        command.process.send_signal(sent)
        assert command.wait() == code, command.errors
        assert command.errors.splitlines()[-1].endswith("the same command goes on from there")
        assert "Traceback" not in command.errors
        assert ("going on from epoch" in command.errors) is (steps[-1] > 0)
        # Nothing but the word of who left it unfinished.
        assert [path.name for path in root.glob("pretrained/.*")] == [f".{reference.key}.claim"]
        assert not list(root.glob("results/*"))
        steps.append(store.checkpoint(store.folder(root, reference.key), print).step)
    assert steps == sorted(set(steps))
    last = Command(root, work=tmp_path)
    assert reference.is_matched_by(root, last.record())
    assert last.record()["pretraining"]["reused"] is False
    assert "going on from epoch" in last.errors
    assert leftovers(root) == []


# Many at once

CELLS = [
    (f"probe.layer={layer}", f"probe.label_fraction={fraction}")
    for fraction, layers in (
        (0.1, ("encoder", "relu_1", "relu_2", "projection", "stage_1")),
        (0.2, ("encoder", "relu_1", "relu_2")),
    )
    for layer in layers
]


def start(root: Path, work: Path, cells: list[tuple[str, ...]]) -> list[Command]:
    return [Command(root, *cell, work=work, name=str(number)) for number, cell in enumerate(cells)]


def check_together(root: Path, reference: Reference, records: list[dict[str, Any]]) -> None:
    assert {record["pretraining"]["key"] for record in records} == {reference.key}
    assert len({record["name"] for record in records}) == len(records)
    assert numbers(records[0]) == numbers(reference.record)
    mine = {name: checksum for name, checksum in kept(root).items() if name.startswith("pretrained")}
    assert mine == {name: checksum for name, checksum in reference.kept.items() if name.startswith("pretrained")}
    by_subsets = {}
    for record in records:
        pixels = by_subsets.setdefault(record["cell"]["label_fraction"], record["baselines"]["pixels"])
        assert record["baselines"]["pixels"] == pixels
    assert leftovers(root) == []


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 8])
def test_of_processes_started_together_one_pretrains_and_each_has_its_result(reference, tmp_path, count):
    root = tmp_path / "runs"
    commands = start(root, tmp_path, CELLS[:count])
    records = [command.record() for command in commands]
    assert sorted(record["pretraining"]["reused"] for record in records) == [False] + [True] * (count - 1)
    check_together(root, reference, records)
    said = [command.errors for command in commands]
    assert sum("epoch 6/6" in errors for errors in said) == 1
    assert not any("taking over" in errors or "set aside" in errors or "Traceback" in errors for errors in said)


def kill_the_holder(reference: Reference, root: Path, commands: list[Command]) -> Command:
    """Kill whoever is pretraining, amid it, and return it."""
    place = store.place(root, reference.key)

    def at_it() -> Command | None:
        found = holder(place.claim)
        return next((each for each in commands if found and each.process.pid == found.process.pid), None)

    assert commands[0].until(lambda: at_it() and checkpoints(root))
    victim = at_it()
    victim.kill()
    return victim


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 8])
def test_when_the_one_that_pretrains_is_killed_another_takes_over_from_its_checkpoint(reference, tmp_path, count):
    root = tmp_path / "runs"
    commands = start(root, tmp_path, CELLS[:count])
    victim = kill_the_holder(reference, root, commands)
    others = [command for command in commands if command is not victim]
    records = [command.record() for command in others]
    assert sorted(record["pretraining"]["reused"] for record in records) == [False] + [True] * (count - 2)
    assert sum("going on from epoch" in command.errors for command in others) == 1
    again = Command(root, *CELLS[commands.index(victim)], work=tmp_path).record()
    assert again["pretraining"]["reused"] is True
    at = commands.index(victim)
    check_together(root, reference, [*records[:at], again, *records[at:]])


@pytest.mark.slow
def test_one_that_was_suspended_until_it_was_taken_over_writes_nothing_when_it_wakes(reference, tmp_path):
    """As Slurm suspends jobs, or a laptop's lid: it had been amid the training, and another one has finished that."""
    root = tmp_path / "runs"
    sleeper = Command(root, *CELLS[0], work=tmp_path, name="sleeper")
    assert sleeper.until(lambda: checkpoints(root))
    sleeper.process.send_signal(signal.SIGSTOP)
    other = Command(root, *CELLS[1], work=tmp_path, name="other")
    second = other.record()
    assert "taking over" in other.errors
    before = kept(root)
    sleeper.process.send_signal(signal.SIGCONT)
    first = sleeper.record()
    assert "giving way" in sleeper.errors
    assert "set aside" not in sleeper.errors
    assert first["pretraining"]["reused"] is True
    assert {name: checksum for name, checksum in kept(root).items() if name in before} == before
    check_together(root, reference, [first, second])


@pytest.mark.slow
def test_of_two_runs_of_one_cell_one_may_be_stopped(reference, tmp_path):
    root = tmp_path / "runs"
    trains, waits = start(root, tmp_path, [CELLS[0], CELLS[0]])
    assert trains.until(lambda: checkpoints(root) and "waiting for" in trains.errors + waits.errors)
    if "waiting for" in trains.errors:
        trains, waits = waits, trains
    waits.process.terminate()
    assert waits.process.wait(30) == 143
    record = trains.record()
    assert reference.is_matched_by(root, record)
    assert leftovers(root) == []


# Damaged

PARTS = {"pretrained/*": ("network.npz", "history.csv", "config.yaml", MANIFEST)}
PARTS |= {"pretrained/*/features/*/trained-encoder": ("train.npy", "test.npy", "views.npy", MANIFEST)}
PARTS |= {"baselines/*": ("record.json", "predictions.npz", MANIFEST)}
FILES = [f"{folder}/{name}" for folder, names in PARTS.items() for name in names]
KINDS = ("truncated", "flipped", "removed")
# Making these again takes seconds: where time is short some are damaged, and in one way only.
QUICK = {"network.npz": "truncated", "train.npy": "removed"}
ALL = [(file, kind) for file in FILES for kind in KINDS]


def is_quick(file: str, kind: str) -> bool:
    name = file.rsplit("/", 1)[1]
    return (
        file.startswith("baselines")
        or QUICK.get(name) == kind
        or (file, kind) == (f"pretrained/*/{MANIFEST}", "flipped")
    )


def damaged(root: Path, file: str, kind: str) -> Path:
    """Damage the one file that the pattern means, a fact where it is a manifest; the file."""
    path = min(root.glob(file))
    fact = b'"schema": '
    damage(path, kind, path.read_bytes().find(fact) + len(fact) if path.name == MANIFEST else None)
    return path


@pytest.mark.parametrize(
    ("file", "kind"),
    [pytest.param(*each, marks=() if is_quick(*each) else pytest.mark.slow) for each in ALL],
)
def test_a_damaged_file_is_set_aside_and_made_again_with_the_same_numbers(
    reference, in_process, tmp_path, caplog, file, kind
):
    root = reference.copy(tmp_path / "runs")
    path = damaged(root, file, kind)
    left = path.read_bytes() if path.exists() else None
    caplog.set_level(logging.INFO)
    record = in_process(root)
    assert reference.is_matched_by(root, record)
    aside = [each for each in root.rglob(f"*{SET_ASIDE}*") if each.is_dir()]
    said = [line.getMessage() for line in caplog.records if "set aside as" in line.getMessage()]
    if path.name == MANIFEST and kind == "removed" and "network" not in [each.stem for each in path.parent.iterdir()]:
        assert aside == []  # a folder without a manifest was never finished, for all that can be known
    else:
        assert len(aside) == len(said) == 1
        assert path.name in said[0]
        assert aside[0].name in said[0]
        assert (aside[0] / path.name).exists() is (left is not None)
        assert left is None or (aside[0] / path.name).read_bytes() == left
    assert record["pretraining"]["reused"] is (path.parent.name != reference.key)
    assert leftovers(root) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "file",
    [
        pytest.param("pretrained/*/network.npz", marks=pytest.mark.slow),
        "pretrained/*/features/*/trained-encoder/train.npy",
    ],
)
def test_the_command_says_in_a_line_what_it_has_set_aside(reference, tmp_path, file):
    root = reference.copy(tmp_path / "runs")
    damaged(root, file, "truncated")
    command = Command(root, work=tmp_path)
    assert reference.is_matched_by(root, command.record())
    (line,) = [line for line in command.errors.splitlines() if "set aside as" in line]
    assert f"{Path(file).name} has " in line
    assert "Traceback" not in command.errors


def test_a_damaged_checkpoint_is_set_aside_and_the_run_begins_anew(reference, in_process, tmp_path, caplog):
    root = tmp_path / "runs"
    where = store.folder(root, reference.key)
    where.mkdir(parents=True)
    (where / store.CHECKPOINT).write_bytes(b"damaged")
    caplog.set_level(logging.INFO)
    record = in_process(root)
    (aside,) = where.glob("checkpoint.npz.*")
    assert aside.read_bytes() == b"damaged"
    assert "checkpoint.npz cannot be read: set aside as" in caplog.text
    aside.unlink()
    assert reference.is_matched_by(root, record)


def test_a_checkpoint_of_another_network_leaves_no_trace_in_the_history(reference, in_process, tmp_path, caplog):
    root = tmp_path / "runs"
    where = store.folder(root, reference.key)
    where.mkdir(parents=True)
    history = [{"epoch": epoch, "loss": 1.0} for epoch in range(3)]
    store.Checkpoint(30, [np.zeros((7, 7))], [np.zeros(3)], [], history, 5.0).save(where / store.CHECKPOINT)
    caplog.set_level(logging.INFO)
    record = in_process(root)
    assert "cannot be used: starting from the beginning" in caplog.text
    assert reference.is_matched_by(root, record)


# Read-only


def read_only(*folders: Path) -> str:
    return "; ".join(f"mount --bind '{folder}' '{folder}'; mount -o remount,bind,ro '{folder}'" for folder in folders)


def everything_in(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_further_cell_of_a_read_only_store_has_the_same_numbers(reference, tmp_path):
    root = reference.copy(tmp_path / "runs")
    before = everything_in(root)
    with private_mounts(read_only(root / "pretrained", root / "baselines")) as seen:
        assert numbers(Command(root, work=tmp_path, seen=seen).record()) == numbers(reference.record)
    assert {name: each for name, each in everything_in(root).items() if name in before} == before
    assert leftovers(root) == []


@pytest.mark.parametrize(
    ("missing", "part"),
    [
        ("probe.image_size=8", "pretrained"),
        pytest.param("seed=5", "pretrained", marks=pytest.mark.slow),
        pytest.param("probe.subsets=3", "baselines", marks=pytest.mark.slow),
    ],
)
def test_what_a_read_only_store_has_not_got_is_an_error_of_one_line(reference, tmp_path, missing, part):
    root = reference.copy(tmp_path / "runs")
    before = everything_in(root)
    with private_mounts(read_only(root / "pretrained", root / "baselines")) as seen:
        command = Command(root, missing, work=tmp_path, seen=seen)
        assert command.wait() == 1
    last = command.errors.splitlines()[-1]
    assert last == f"error: {root / part}: cannot be written to (Read-only file system)"
    assert "Traceback" not in command.errors
    assert {name: each for name, each in everything_in(root).items() if name in before} == before
    assert leftovers(root) == []


def test_a_root_that_is_read_only_is_bad_input(reference, tmp_path):
    root = reference.copy(tmp_path / "runs")
    before = everything_in(root)
    with private_mounts(read_only(root)) as seen:
        command = Command(root, work=tmp_path, seen=seen)
        assert command.wait() == 2
    (line,) = command.errors.splitlines()
    assert line.startswith(f"error: root={root}: cannot be written to (Read-only file system)")
    assert everything_in(root) == before


# Full


def nothing_is_half_published(root: Path) -> bool:
    """Every folder with a manifest is intact, and every record valid."""
    for manifest in root.rglob(MANIFEST):
        try:
            sealed(manifest.parent)
        except Damaged as damage:
            raise AssertionError(f"{manifest.parent}: {damage}") from damage
    for path in root.glob("results/*/result.json"):
        assert json.loads(path.read_text())["status"] in ("finished", "failed")
    return not any(found.alive for path in root.glob("pretrained/.*.claim") if (found := holder(path)))


# How much is left when the command starts, what it may then save of its state, and up to where it should come.
STAGES = {
    "before the start": (0, "pretrain.checkpoint_minutes=0", ()),
    "at the first checkpoint": (60_000, "pretrain.checkpoint_minutes=0", (store.CONFIG,)),
    "at publishing": (60_000, "pretrain.checkpoint_minutes=60", (store.CONFIG, store.HISTORY)),
    "at the features": (400_000, "pretrain.checkpoint_minutes=0", (store.WEIGHTS, MANIFEST)),
}


def prepare(stage: str, reference: Reference, disk: SmallDisk, overhead: int) -> tuple[Path, str]:
    """A disk so full that the command comes just to a stage: its root, and the override for that."""
    root = disk.path / "runs"
    (root / "pretrained" / reference.key).mkdir(parents=True)
    left, override, _ = STAGES[stage]
    disk.leave(left + overhead if left else 0)
    return root, override


@pytest.mark.slow
@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "before the start"])
def test_on_a_disk_that_is_full_at_a_stage_a_run_fails_clearly_and_later_finishes(
    reference, in_process, tmp_path, caplog, stage
):
    with small_disk(tmp_path) as disk:
        root, override = prepare(stage, reference, disk, overhead=0)
        with pytest.raises(RunFailed, match="No space left on device") as caught:
            in_process(root, override)
        assert "\n" not in str(caught.value)
        assert not any(line.exc_info for line in caplog.records)
        assert nothing_is_half_published(root)
        there = {path.name for path in (root / "pretrained" / reference.key).iterdir()}
        assert there >= set(STAGES[stage][2])
        assert (MANIFEST in there) is (stage == "at the features")
        disk.make_room()
        assert reference.is_matched_by(root, in_process(root))
        assert leftovers(root) == []
        assert not list(root.glob(f"pretrained/*{SET_ASIDE}*"))  # what was not finished is not damaged


def test_on_a_disk_that_is_full_at_the_result_nothing_is_lost(reference, in_process, tmp_path):
    with small_disk(tmp_path) as disk:
        root = reference.copy(disk.path / "runs")
        disk.leave(4096)
        with pytest.raises(RunFailed, match="No space left on device"):
            in_process(root)
        assert nothing_is_half_published(root)
        disk.make_room()
        record = in_process(root)
        assert record["pretraining"]["reused"] is True
        assert reference.is_matched_by(root, record)
        left = {path.name for path in Path(record["path"]).parent.iterdir()}
        assert left == {"result.json", "config.yaml", "predictions.npz"}


def test_on_a_disk_that_is_full_at_the_baseline_it_is_measured_again_later(reference, in_process, tmp_path):
    with small_disk(tmp_path) as disk:
        root = reference.copy(disk.path / "runs", "pretrained")
        disk.leave(4096)
        with pytest.raises(RunFailed, match="No space left on device"):
            in_process(root)
        assert nothing_is_half_published(root)
        disk.make_room()
        assert reference.is_matched_by(root, in_process(root))
        assert leftovers(root) == []


@pytest.mark.parametrize(
    "stage",
    [
        "before the start",
        pytest.param("at the first checkpoint", marks=pytest.mark.slow),
        pytest.param("at publishing", marks=pytest.mark.slow),
        pytest.param("at the features", marks=pytest.mark.slow),
    ],
)
def test_the_command_on_a_full_disk_ends_with_code_1_and_a_line_that_says_so(reference, in_process, tmp_path, stage):
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk") as disk:
        root, override = prepare(stage, reference, disk, overhead=40_000)
        command = Command(tmp_path / "disk" / "runs", override, work=tmp_path, seen=disk.seen)
        assert command.wait() == 1, command.errors
        (line,) = [line for line in command.errors.splitlines() if line.startswith("error: ")]
        assert "No space left on device" in line
        assert command.errors.splitlines()[-1] == line
        assert "Traceback" not in command.errors
        assert nothing_is_half_published(root)
        disk.make_room()
        assert reference.is_matched_by(root, in_process(root))
        assert leftovers(root) == []


def test_a_disk_without_room_for_another_file_is_not_taken_for_bad_input(reference, in_process, tmp_path):
    """Without inodes not even an empty file can be made: the same cause, and so the same code."""
    command = f"mount -t tmpfs -o size=8m,nr_inodes=2 tmpfs '{tmp_path}'"
    with private_mounts(command) as seen:
        root = seen / tmp_path.relative_to("/") / "runs"
        root.mkdir()
        with pytest.raises(RunFailed, match="No space left on device"):
            in_process(root)
