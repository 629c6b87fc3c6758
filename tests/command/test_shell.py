"""The entry point as its users meet it: a process with arguments, two streams and an exit code."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simclr.foundation.work import holder
from tests.terminal import shown

RUN = Path(__file__).parents[2] / "run.py"
QUICK = ("pretrain.epochs=2", "encoder.widths=[8,12]", "encoder.blocks=[1,1]", "probe.subsets=2")


@pytest.fixture(scope="module")
def finished(run_command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    return run_command("head=two_relu", "probe.layer=-4", *QUICK, cwd=folder), folder


def test_the_last_line_of_output_is_the_path_of_the_result(finished):
    done, folder = finished
    assert done.returncode == 0, done.stderr
    word, path = done.stdout.splitlines()[-1].split(" ", 1)
    assert word == "result"
    assert json.loads((folder / path).read_text())["status"] == "finished"


def test_the_table_has_the_accuracy_its_baselines_and_where_the_time_went(finished):
    done, _ = finished
    for part in ("relu_1 (-4), pretrained", "before the first step", "raw pixels", "95 % interval", "pretraining"):
        assert part in done.stdout


def test_another_loss_and_a_deeper_head_with_norms_are_options_like_others(run_command, tmp_path):
    asked = ("loss=dcl", "loss.weighted=true", "head=three_relu", "head.norm=batch", "probe.layer=relu_3")
    done = run_command(*asked, *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "relu_3 (-3), pretrained" in done.stdout
    record = json.loads((tmp_path / done.stdout.splitlines()[-1].removeprefix("result ")).read_text())
    assert record["cell"]["layer"] == {"index": -3, "name": "relu_3", "width": 128}
    short = run_command("head=three_relu", "head.hidden=[9,8]", *QUICK, cwd=tmp_path)
    assert short.returncode == 2
    assert short.stderr.splitlines() == [
        "error: head.hidden=[9,8]: head=three_relu needs 3 widths, one for each ReLU layer; "
        "valid is at least so many, say [256,256,128]"
    ]


def test_progress_is_on_standard_error_as_whole_lines_without_tensorflows_noise(finished):
    done, _ = finished
    assert "epoch 2/2  loss" in done.stderr
    assert "images/s" in done.stderr
    assert "epoch" not in done.stdout.replace("epochs at", "")
    for noise in ("oneDNN", "cuda", "cpu_feature_guard", "absl", "\r", "\x1b", "Traceback", "Warning"):
        assert noise not in done.stderr


def test_everything_written_lies_below_the_root(finished):
    _, folder = finished
    assert [entry.name for entry in folder.iterdir()] == ["runs"]
    assert {entry.name for entry in (folder / "runs").iterdir()} == {"hydra", "pretrained", "results", "baselines"}


def test_a_recorded_cell_runs_again_from_its_folder_and_can_be_varied(finished, run_command):
    done, folder = finished
    recorded = Path(done.stdout.splitlines()[-1].removeprefix("result ")).parent
    shown = run_command("--config-dir", str(recorded), "seed=5", "head=one_relu", "--cfg", "job", cwd=folder).stdout
    assert "epochs: 2\n" in shown
    assert "seed: 5\n" in shown
    assert "name: one_relu\n" in shown
    again = run_command(f"--config-dir={recorded}", cwd=folder)
    assert again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1]


BAD = [
    (["head=four_relu"], 'head=four_relu: there is no such option; valid is none, .*Did you mean "two_relu"'),
    (["pretrain.epoch=3"], 'pretrain.epoch=3: there is no such key. Did you mean "pretrain.epochs"'),
    (["hed=none"], 'hed=none: there is no such key. Did you mean "head"'),
    (["colour=blue"], "colour=blue: there is no such key. python run.py --help"),
    (["pretrain.epochs=many"], "pretrain.epochs=many: valid is a whole number, at least 1"),
    (["optimizer.learning_rate=fast"], "optimizer.learning_rate=fast: valid is a number, more than 0"),
    (["pretrain.temperature=0"], "pretrain.temperature=0: valid is at least 0.01"),
    (["head=one_relu", "probe.layer=-6"], "probe.layer=-6: head=one_relu has the layers -1 projection"),
    (["pretrain.batch_size=99999"], "pretrain.batch_size=99999: digits has 1347 training images"),
    (["probe.label_fraction=0.0001"], "probe.label_fraction=0.0001: leaves the class"),
    (["data=folder", "data.root=nowhere"], "data.root=nowhere"),
    (["root=/proc/nowhere"], "root=/proc/nowhere: cannot be written"),
    (["nonsense"], "nonsense: not understood as KEY=VALUE"),
    (["head={"], "head={: not understood as KEY=VALUE"),
]


@pytest.mark.parametrize(("arguments", "says"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_one_line_code_2_no_tensorflow_and_nothing_written(arguments, says, tmp_path):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(RUN), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert done.returncode == 2
    assert len(told) == 1
    assert re.search(says, told[0]), told
    assert done.stdout == ""
    assert "tensorflow" not in imported
    assert "hydra" in imported
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == []


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["experiment=documents", "--cfg", "job"]])
def test_help_and_configuration_are_printed_without_tensorflow(arguments, tmp_path):
    script = "import runpy, sys; sys.argv = sys.argv[1:]\ntry: runpy.run_path(sys.argv[0], run_name='__main__')\n"
    script += "except SystemExit as end: print(end.code, 'tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script, str(RUN), *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] in ("0 False", "None False")
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_group_and_has_examples(run_command, tmp_path):
    text = run_command("--help", cwd=tmp_path).stdout
    for group in (
        "data: cifar10",
        "transfer: cifar10",
        "encoder: resnet18",
        "head: none",
        "probe: documents",
        "optimizer:",
        "augment:",
    ):
        assert group in text
    assert text.count("python run.py ") >= 5


def test_importing_the_package_does_not_import_tensorflow():
    code = "import sys, simclr, simclr.experiment, simclr.records.result; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_skipped_cell_ends_well(run_command, tmp_path):
    done = run_command("head=one_relu", "probe.layer=-6", "on_invalid=skip", cwd=tmp_path)
    assert done.returncode == 0
    path = done.stdout.splitlines()[-1].removeprefix("result ")
    assert json.loads((tmp_path / path).read_text())["status"] == "skipped"


def test_a_run_that_fails_ends_with_code_1_and_its_record(run_command, tmp_path):
    failing = ("optimizer=sgd", "optimizer.learning_rate=1000", "optimizer.weight_decay=10")
    done = run_command(*QUICK, *failing, "pretrain.precision=mixed_float16", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: the loss became nan")
    assert "Traceback" not in done.stderr
    path = done.stdout.splitlines()[-1].removeprefix("result ")
    assert json.loads((tmp_path / path).read_text())["status"] == "failed"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGUSR1, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_stopped_saves_says_how_to_go_on_and_leaves_no_half_result(sent, code, tmp_path):
    command = [sys.executable, str(RUN), "pretrain.epochs=5000"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "epoch 1/" in line:
            break
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.splitlines()[-1].endswith("the same command goes on from there")
    assert "Traceback" not in errors
    assert not list(tmp_path.glob("runs/results/*"))
    assert len(list(tmp_path.glob("runs/pretrained/*/checkpoint.npz"))) == 1
    (claim,) = tmp_path.glob("runs/pretrained/.*")
    assert not holder(claim).alive


@pytest.mark.slow
def test_a_terminal_gets_a_bar(tmp_path):
    seen = shown([sys.executable, str(RUN), *QUICK, "pretrain.epochs=12"], tmp_path)
    for part in (b"pretraining", b"loss", b"accuracy", b"images/s", b"/12", b"\x1b["):
        assert part in seen
