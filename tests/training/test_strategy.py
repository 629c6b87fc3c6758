"""One pretraining on several devices is the pretraining of one device with the whole batch.

TensorFlow's devices are decided when it starts, so what is checked on several of them runs in a process of its own: a
test names the function of this module that does it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from simclr.config import PretrainConfig
from simclr.config.compose import compose
from simclr.foundation.errors import InvalidInput
from simclr.training.cluster import Cluster, check_shares, cluster
from tests.conftest import REPOSITORY, made_up

TINY = (
    "encoder.widths=[8,12]",
    "encoder.blocks=[1,1]",
    "head.hidden=[16,16]",
    "head.output=8",
    "pretrain.batch_size=16",
    "pretrain.epochs=4",
    "pretrain.precision=float32",
)
ONE_STEP = ("pretrain.epochs=1", "optimizer=sgd", "optimizer.learning_rate=1")
CLOSE = 1e-5


def on_devices(count: int, function, *arguments: str) -> None:
    """Call a function of this module in a process whose CPU is split into so many devices."""
    program = (
        "import sys, tensorflow as tf\n"
        "from simclr.training.runtime import start_tensorflow\n"
        "cpu, = tf.config.list_physical_devices('CPU')\n"
        f"tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * {count})\n"
        "start_tensorflow(1)\n"
        "from tests.training import test_strategy\n"
        f"test_strategy.{function.__name__}(*sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def trained(*overrides: str, images=None, precision: str = "float32", saving=None):
    from simclr.training.pretrain import pretrain

    return pretrain(compose([*TINY, *overrides]).recipe, images or made_up(50), precision, saving=saving)


def assert_same_run(found, expected, close: float = CLOSE) -> None:
    """Losses, accuracies, and every weight and moving statistic."""
    for ours, theirs in zip(found.history, expected.history, strict=True):
        assert ours == pytest.approx(theirs, abs=close)
    for ours, theirs in zip(found.network.variables, expected.network.variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=close, err_msg=ours.path)


def same_steps(*overrides: str) -> None:
    """Twelve steps of SGD, which unlike AdamW would show gradients that are twice too large."""
    sgd = ("optimizer=sgd", "optimizer.learning_rate=0.01", *overrides)
    found = trained(*sgd, "pretrain.strategy=mirrored")
    assert found.replicas == 2
    assert_same_run(found, trained(*sgd))


def test_two_devices_make_the_steps_of_one():
    on_devices(2, same_steps)


@pytest.mark.parametrize("overrides", [("head.norm=batch",), ("loss=dcl", "loss.weighted=true")], ids=" ".join)
def test_two_devices_make_the_steps_of_one_with_other_heads_and_losses(overrides):
    on_devices(2, same_steps, *overrides, "pretrain.epochs=1")


@pytest.mark.slow
def test_two_devices_make_the_steps_of_one_with_local_views():
    on_devices(2, same_steps, "augment.local_views=2")


@pytest.mark.slow
def test_two_devices_make_the_steps_of_one_with_statistics_of_each_view():
    # Three steps: in a dozen the last bits, which a sum in another order changes, have grown to 1e-4 here.
    on_devices(2, same_steps, "pretrain.statistics=apart", "pretrain.epochs=1")


def same_as_one(*overrides: str) -> None:
    """Twelve steps; and one step of SGD with a rate of one, in which the weights move by the gradient."""
    import tensorflow as tf

    photographs = made_up(50, channels=3, aspect=1.3) if "augment=simclr" in overrides else None
    found = trained(*overrides, "pretrain.strategy=mirrored", images=photographs)
    assert found.replicas == len(tf.config.list_logical_devices("CPU"))
    assert_same_run(found, trained(*overrides, images=photographs))
    step = [each for each in overrides if not each.startswith("optimizer")]
    images = made_up(16) if photographs is None else made_up(16, channels=3, aspect=1.3)
    assert_same_run(
        trained(*step, *ONE_STEP, "pretrain.strategy=mirrored", images=images),
        trained(*step, *ONE_STEP, images=images),
    )


def same_streamed_steps(root: str) -> None:
    """Of images that are decoded as they are used, by devices that share them, and kept ones on one device."""
    from PIL import Image

    from simclr import data

    for split, count in (("train", 34), ("test", 4)):
        images = made_up(count, side=20, channels=3)
        for pixels, label, name in zip(images.pixels, images.labels, images.paths, strict=True):
            folder = Path(root) / split / ("above", "below")[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / name)
    overrides = (
        f"data.root={root}",
        "data=folder",
        "data.image_size=16",
        "optimizer=sgd",
        "optimizer.learning_rate=0.01",
    )
    kept, streamed = (
        data.load(compose([*TINY, *overrides, f"data.cache_gib={gib}"]).data, Path(root) / "cache").train
        for gib in (1, 0)
    )
    assert isinstance(streamed, data.StreamedSplit)
    found = trained(*overrides, "pretrain.strategy=mirrored", images=streamed)
    assert found.replicas == 2
    assert_same_run(found, trained(*overrides, images=kept))


@pytest.mark.slow
def test_devices_that_share_streamed_images_make_the_steps_of_one_that_keeps_them(tmp_path):
    on_devices(2, same_streamed_steps, str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer=adamw",),
        ("optimizer=lars", "optimizer.warmup_epochs=0.5"),
        # Not AdamW: it divides small gradients by their size, and in a deeper network rounding with them.
        (
            *("encoder=small_resnet", "augment=simclr", "pretrain.sizes=[[12,0.5],[16,0.5]]"),
            *("optimizer=sgd", "optimizer.learning_rate=0.05"),
        ),
        ("encoder.norm=group", "pretrain.microbatch=2"),
    ],
    ids=" ".join,
)
def test_several_devices_make_the_steps_of_one_with_every_optimizer_and_network(overrides, devices):
    on_devices(devices, same_as_one, *overrides)


def same_resnet50_step() -> None:
    """Were each of its norms to see its share alone, the loss would be another by 0.09."""
    from simclr.training.pretrain import pretrain

    overrides = ("experiment=documents", "augment=simclr", "pretrain.batch_size=8", "pretrain.epochs=1")
    one, mirrored = (
        pretrain(
            compose([*overrides, "data.image_size=64", f"pretrain.strategy={name}"]).recipe,
            made_up(8, side=64, channels=3),
            "float32",
        )
        for name in ("one", "mirrored")
    )
    assert mirrored.history[0]["loss"] == pytest.approx(one.history[0]["loss"], abs=1e-3)


@pytest.mark.slow
def test_the_norms_of_kerass_own_network_see_the_whole_batch_too():
    on_devices(2, same_resnet50_step)


def same_views(augment: str) -> None:
    import tensorflow as tf

    from simclr.model.network import build_network
    from simclr.training.loss import Objective
    from simclr.training.pretrain import ContrastiveModel
    from simclr.training.replicas import strategy_named

    config = compose([*TINY, f"augment={augment}", "augment.noise=0.1"])
    images, step = made_up(48, channels=3, aspect=1.3), tf.constant(7, tf.int64)

    def model() -> ContrastiveModel:
        network = build_network(config.encoder, config.head, 3, 16, 0)
        return ContrastiveModel(network, images, config.augment, Objective(config.loss, 0.2), 0, 16)

    whole = model().views(step, tf.range(8))
    strategy = strategy_named("mirrored")
    with strategy.scope():
        mirrored = model()

    def share():
        number, of = mirrored.replicas.share
        return mirrored.views(step, tf.range(8)[number * 8 // of : (number + 1) * 8 // of])

    shares = strategy.experimental_local_results(strategy.run(tf.function(share)))
    ours = np.concatenate([np.stack(np.split(each, 2)) for each in shares], axis=1)
    np.testing.assert_allclose(ours.reshape(whole.shape), whole, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("augment", ["simclr", "affine", "documents"])
def test_an_image_has_the_views_that_it_has_on_one_device(augment):
    on_devices(2, same_views, augment)


def all_skip_what_one_cannot_do() -> None:
    import tensorflow as tf

    from simclr.training.replicas import Replicas, strategy_named

    with strategy_named("mirrored").scope():
        replicas = Replicas()

    def gradients(where):
        of_this = [tf.ones(3), tf.where(replicas.share[0] == where, np.inf, 1.0) * tf.ones(2)]
        return tf.reduce_all([tf.reduce_all(tf.math.is_finite(each)) for each in replicas.all_or_none(of_this)])

    for where, fine in ((0, False), (1, False), (2, True)):
        found = replicas.strategy.run(tf.function(gradients), args=(where,))
        assert [bool(each) for each in replicas.strategy.experimental_local_results(found)] == [fine, fine]
    one, mirrored = (
        trained(f"pretrain.strategy={name}", precision="mixed_float16", images=made_up(16))
        for name in ("one", "mirrored")
    )
    assert mirrored.history[-1]["loss"] == pytest.approx(one.history[-1]["loss"], abs=0.05)


@pytest.mark.slow
def test_a_step_whose_loss_scale_is_too_high_for_one_device_is_skipped_by_all():
    on_devices(2, all_skip_what_one_cannot_do)


def goes_on_to_the_same_bits(precision: str) -> None:
    from simclr.evaluation.monitor import NeighbourMonitor
    from simclr.training.pretrain import pretrain
    from simclr.training.resume import Saving

    config, images = compose([*TINY, "pretrain.strategy=mirrored"]), made_up(50)

    def run(start=None):
        states = []
        watching = [NeighbourMonitor(images, every=2, epochs=4, centre=False, seed=0)]
        return pretrain(config.recipe, images, precision, watching, Saving(start, states.append, minutes=0)), states

    def bits(done):
        return [each.tobytes() for each in done.network.get_weights()], [
            [float(value).hex() for value in row.values()] for row in done.history
        ]

    whole, states = run()
    assert [state.step for state in states] == list(range(1, 13))
    for stop in (1, 5, 6):
        resumed, later = run(states[stop - 1])
        assert bits(resumed) == bits(whole), stop
        assert [each.tobytes() for each in later[-1].optimizer] == [each.tobytes() for each in states[-1].optimizer]


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "precision"), [(2, "float32"), (4, "float32"), (2, "mixed_float16")])
def test_a_mirrored_run_that_was_stopped_ends_with_the_same_bits(devices, precision):
    on_devices(devices, goes_on_to_the_same_bits, precision)


def a_whole_run(root: str) -> None:
    from simclr import experiment

    overrides = (f"root={root}", "pretrain.strategy=mirrored", "pretrain.epochs=2", "tracking.mode=disabled")
    record = experiment.run(compose(list(overrides)))
    assert record["status"] == "finished"
    assert record["host"]["replicas"] == 2
    assert Path(record["path"]).is_file()
    again = experiment.run(compose([*overrides, "pretrain.strategy=one", "probe.layer=-4"]))
    assert again["pretraining"]["reused"]
    with pytest.raises(InvalidInput, match="2 devices share a batch"):
        experiment.run(compose([*overrides, "pretrain.batch_size=127"]))
    assert len(list(Path(root).glob("results/*/result.json"))) == 2


@pytest.mark.slow
def test_a_whole_run_on_two_devices_has_a_result_that_one_device_reuses(tmp_path):
    on_devices(2, a_whole_run, str(tmp_path))


def test_on_one_device_mirrored_is_one(composed, made_up_split):
    from simclr.training.pretrain import pretrain

    one, mirrored = (
        pretrain(composed(*TINY, "pretrain.epochs=1", f"pretrain.strategy={name}").recipe, made_up_split(32), "float32")
        for name in ("one", "mirrored")
    )
    assert mirrored.replicas == 1
    assert [each.tobytes() for each in mirrored.network.get_weights()] == [
        each.tobytes() for each in one.network.get_weights()
    ]


# Several processes


def tf_config(port: int, number: int, workers: int = 2) -> str:
    addresses = [f"127.0.0.1:{port + each}" for each in range(workers)]
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}})


def free_port() -> int:
    """The first of two."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return int(port)


def started(arguments: list[str], folder: Path) -> list[subprocess.Popen[str]]:
    """Two processes with the same command line, number 0 first; each writes to ``out<number>`` and ``err<number>``."""
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "TF_CONFIG": tf_config(port, number)},
            stdout=(folder / f"out{number}").open("w"),
            stderr=(folder / f"err{number}").open("w"),
            text=True,
        )
        for number in (0, 1)
    ]


def ended(processes: list[subprocess.Popen[str]], folder: Path, codes: tuple[int, int]) -> None:
    try:
        found = tuple(each.wait(timeout=400) for each in processes)
    finally:
        for each in processes:
            each.kill()
    assert found == codes, "\n".join((folder / f"err{number}").read_text()[-2000:] for number in (0, 1))


def same_as_one_process(*overrides: str) -> None:
    from simclr.training.runtime import start_tensorflow

    start_tensorflow(1, "multi_worker")
    found = trained(*overrides, "pretrain.strategy=multi_worker")
    assert found.replicas == 2
    assert_same_run(found, trained(*overrides))


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer=sgd", "optimizer.learning_rate=0.01"),
        ("optimizer=adamw",),
        (*ONE_STEP, "pretrain.batch_size=50"),
    ],
    ids=" ".join,
)
def test_two_processes_make_the_steps_of_one(tmp_path, overrides):
    program = f"from tests.training import test_strategy as tests; tests.same_as_one_process(*{overrides})"
    ended(started(["-c", program], tmp_path), tmp_path, (0, 0))


SMALL = ("pretrain.epochs=8", "pretrain.threads=1", "tracking.mode=disabled", "pretrain.strategy=multi_worker")


@pytest.mark.slow
def test_of_several_processes_the_chief_alone_has_a_result_and_the_others_end_well(tmp_path):
    command = [str(REPOSITORY / "run.py"), *SMALL, f"root={tmp_path}/runs"]
    ended(started(command, tmp_path), tmp_path, (0, 0))
    assert (tmp_path / "out0").read_text().splitlines()[-1].startswith("result ")
    assert (tmp_path / "out1").read_text() == ""
    (result,) = (tmp_path / "runs" / "results").iterdir()
    assert json.loads((result / "result.json").read_bytes())["host"]["replicas"] == 2
    # The network is there now: nobody trains, and nobody waits for ever.
    ended(started([*command, "probe.layer=-4"], tmp_path), tmp_path, (0, 0))
    assert "the network is there already" in (tmp_path / "err1").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("asked", [0, 1], ids=["chief", "worker"])
def test_when_one_process_is_asked_to_stop_all_do_and_the_same_command_ends_with_the_same_bits(tmp_path, asked):
    def command(root: str) -> list[str]:
        return [str(REPOSITORY / "run.py"), *SMALL, f"root={tmp_path}/{root}"]

    processes = started(command("stopped"), tmp_path)
    try:
        while "epoch 1/" not in (tmp_path / "err0").read_text() and processes[0].poll() is None:
            time.sleep(0.1)
        processes[asked].send_signal(signal.SIGTERM)
    finally:
        ended(processes, tmp_path, (143, 143))
    for root in ("stopped", "whole"):
        ended(started(command(root), tmp_path), tmp_path, (0, 0))
    files = [next((tmp_path / root).glob("pretrained/*/network.npz")) for root in ("stopped", "whole")]
    with np.load(files[0]) as stopped, np.load(files[1]) as whole:
        assert stopped.files == whole.files
        assert all(stopped[name].tobytes() == whole[name].tobytes() for name in whole.files)


# What is known before TensorFlow starts


@pytest.mark.parametrize("number", [0, 1, 2])
def test_tf_config_says_who_is_who(number):
    environment = {"TF_CONFIG": tf_config(1000, number, workers=3)}
    assert cluster("multi_worker", environment) == Cluster(3, number)
    assert cluster("multi_worker", environment).chief == (number == 0)


def test_a_chief_apart_from_the_workers_comes_first():
    told = {"cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "task": {"type": "worker", "index": 1}}
    assert cluster("multi_worker", {"TF_CONFIG": json.dumps(told)}) == Cluster(3, 2)


def test_a_slurm_step_says_who_is_who_where_there_is_no_tf_config():
    assert cluster("multi_worker", {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}) == Cluster(4, 1)


@pytest.mark.parametrize("strategy", ["one", "mirrored"])
def test_other_strategies_are_one_process_whatever_the_environment_says(strategy):
    assert cluster(strategy, {"TF_CONFIG": tf_config(1000, 1)}) == Cluster(1, 0)


@pytest.mark.parametrize("told", ["", "[]", '{"cluster": {}}', tf_config(1000, 2)])
def test_a_tf_config_that_makes_no_sense_is_bad_input(told):
    with pytest.raises(InvalidInput, match="valid is"):
        cluster("multi_worker", {"TF_CONFIG": told})


@given(some.integers(1, 300), some.integers(1, 16))
def test_a_batch_that_does_not_divide_is_refused_with_ones_that_do(batch, devices):
    settings = PretrainConfig(batch_size=batch)
    if batch % devices == 0:
        check_shares(settings, devices)
    else:
        with pytest.raises(InvalidInput, match=f"valid is a multiple of {devices}"):
            check_shares(settings, devices)


def test_devices_that_share_a_batch_are_not_compiled():
    with pytest.raises(InvalidInput, match=r"pretrain\.xla=true: 2 devices share a batch .* valid is false or null"):
        check_shares(PretrainConfig(batch_size=16, xla=True), 2)
    check_shares(PretrainConfig(batch_size=16, xla=True), 1)


def test_a_microbatch_divides_the_share_of_a_device():
    with pytest.raises(InvalidInput, match="each of 2 devices has 8 images"):
        check_shares(PretrainConfig(batch_size=16, microbatch=16), 2)


@pytest.mark.parametrize(
    ("overrides", "environment", "told"),
    [
        (("pretrain.strategy=mirrored",), {}, "3 devices share a batch"),
        (("pretrain.strategy=multi_worker",), {}, "neither TF_CONFIG nor"),
        (("pretrain.strategy=multi_worker",), {"TF_CONFIG": tf_config(1000, 0)}, "6 devices share a batch"),
        (("pretrain.strategy=mirrored", "pretrain.microbatch=1"), {}, "valid with encoder.norm=group"),
        (("-m", "seed=0,1", "pretrain.strategy=multi_worker"), {}, "a grid's jobs are one process each"),
    ],
)
def test_what_cannot_be_shared_out_ends_with_code_2_before_anything_is_started(
    run_command, tmp_path, overrides, environment, told
):
    driver = tmp_path / "nvidia-smi"  # of a machine with three GPUs
    driver.write_text("#!/bin/sh\nprintf '8.0\\n8.0\\n8.0\\n'\n")
    driver.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = run_command(*overrides, f"root={tmp_path}/runs", cwd=tmp_path, PATH=path, **environment)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()
