"""``store export --onnx``: the same features from a runtime that knows nothing of TensorFlow."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from simclr import experiment, store
from simclr.command.store import main
from simclr.model.network import build_network, representation
from simclr.store.export import CARD, ONNX_FILE, _plain, _write_onnx
from simclr.training.runtime import start_tensorflow
from tests.store.commands import TINY

OUTSIDE = """
import sys
import numpy as np
images = np.load("images.npy")
{lines}
np.save("features.npy", features)
assert not {{"tensorflow", "keras", "simclr"}} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def measured(composed, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return root, experiment.run(composed(*TINY, f"root={root}"))["pretraining"]["key"]


def test_the_cards_own_lines_run_it_without_tensorflow(measured, tmp_path):
    root, key = measured
    target = tmp_path / "taken"
    assert main(["export", key, str(target), "--onnx", "--root", str(root)]) == 0
    (lines,) = re.findall(r"```python\n(import onnxruntime.*?)```", (target / CARD).read_text(), re.DOTALL)
    images = np.random.default_rng(0).random((7, 16, 16, 1), np.float32)
    np.save(target / "images.npy", images)
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE.format(lines=lines)], cwd=target, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = representation(store.load(root, key), "encoder")(images).numpy()
    np.testing.assert_allclose(np.load(target / "features.npy"), expected, atol=1e-5)


def test_without_the_option_there_is_no_such_file_and_no_word_of_it(measured, tmp_path):
    root, key = measured
    assert main(["export", key, str(tmp_path / "taken"), "--root", str(root)]) == 0
    assert not (tmp_path / "taken" / ONNX_FILE).exists()
    assert "onnx" not in (tmp_path / "taken" / CARD).read_text()


def test_what_it_needs_is_told_before_anything_is_written(measured, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("simclr.store.export.find_spec", lambda name: None)
    root, key = measured
    assert main(["export", key, str(tmp_path / "taken"), "--onnx", "--root", str(root)]) == 2
    assert "pip install 'simclr[onnx]'" in capsys.readouterr().err
    assert not (tmp_path / "taken").exists()


def test_a_head_with_norms_gives_the_same_features_in_kerass_own_layers_and_in_onnx(composed, tmp_path: Path):
    start_tensorflow(None)
    config = composed("head=three_relu", "head.norm=batch", "data.image_size=32")
    network = build_network(config.encoder, config.head, 3, 32, seed=0)
    images = np.random.default_rng(1).random((5, 32, 32, 3), np.float32)
    network(images, training=True)  # moves the norms' statistics
    ours = representation(network, "projection_norm")
    model = _plain(ours)
    assert {type(layer).__module__.partition(".")[0] for layer in model._flatten_layers()} == {"keras"}
    np.testing.assert_allclose(model(images), ours(images), rtol=1e-4, atol=1e-5)
    _write_onnx(model, tmp_path / ONNX_FILE)
    session = onnxruntime.InferenceSession(tmp_path / ONNX_FILE, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images})
    np.testing.assert_allclose(found, ours(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "encoder", ["small_cnn", "small_resnet", "resnet18", pytest.param("resnet50", marks=pytest.mark.slow)]
)
def test_every_encoder_gives_the_same_features_at_any_size(composed, encoder, tmp_path: Path):
    start_tensorflow(None)
    config = composed(f"encoder={encoder}", "data.image_size=32")
    network = build_network(config.encoder, config.head, 3, 32, seed=0)
    model = _plain(representation(network, "encoder"))
    _write_onnx(model, tmp_path / ONNX_FILE)
    session = onnxruntime.InferenceSession(tmp_path / ONNX_FILE, providers=["CPUExecutionProvider"])
    for shape in ((1, 32, 32, 3), (5, 40, 48, 3)):
        images = np.random.default_rng(1).random(shape, np.float32)
        expected = model(images).numpy()
        (found,) = session.run(None, {"images": images})
        np.testing.assert_allclose(found, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))
