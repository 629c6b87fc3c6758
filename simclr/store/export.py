"""Taking a network along: files that Keras and TensorFlow load without this package, and a card that explains them."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from simclr.config import Recipe
from simclr.config.cell import View, probed_view
from simclr.foundation.errors import InvalidInput
from simclr.foundation.files import write_whole
from simclr.records import result
from simclr.store.pretraining import Pretraining, check_layer, configuration, network

KERAS_FILE, SAVED_MODEL, ONNX_FILE, CARD = "encoder.keras", "saved_model", "encoder.onnx", "README.md"

KERAS_LAYERS = {
    "Convolution": "Conv2D",
    "FusedBatchNormalization": "BatchNormalization",
    "MaxPooling": "MaxPooling2D",
}
"""This package's layers and Keras's own, which compute the same from the same configuration and weights."""


def export(
    pretraining: Pretraining, root: str | Path, target: Path, layer: str = "encoder", *, onnx: bool = False
) -> None:
    """Write the network up to a layer as a ``.keras`` file and a SavedModel, and a model card.

    Layers of this package become Keras's own, which compute the same, so that loading needs nothing of it.

    Args:
        pretraining: finished and intact.
        root: where its results are looked for, for the card.
        target: a folder, made where it is missing.
        layer: the last one that is kept: ``encoder``, a layer of the head or a stage.
        onnx: write an ONNX file too, for runtimes without TensorFlow.

    Raises:
        InvalidInput: the network has no such layer, the folder already holds something, or what writes ONNX is not
            installed.
        OSError: it cannot be written.
    """
    if onnx and (missing := [name for name in ("tf2onnx", "onnx") if find_spec(name) is None]):
        raise InvalidInput(f"--onnx: needs {' and '.join(missing)}, pip install 'simclr[onnx]'")
    config = configuration(pretraining.folder)
    check_layer(config.encoder, config.head, layer)
    if target.exists() and any(target.iterdir()):
        raise InvalidInput(f"{target}: is not empty; valid is a new folder")
    from simclr.model.network import representation

    model = _plain(representation(network(pretraining), layer))
    target.mkdir(parents=True, exist_ok=True)
    model.save(target / KERAS_FILE)
    model.export(target / SAVED_MODEL, verbose=False)
    if onnx:
        _write_onnx(model, target / ONNX_FILE)
    view = probed_view(config.probe, config.augment)
    more = _onnx_lines(int(pretraining.manifest["channels"])) if onnx else ""
    card = _card(pretraining, config.data.name, config.recipe, view, layer, more)
    write_whole(target / CARD, f"{card}\n{_accuracies(pretraining, root)}\n".encode())


def _write_onnx(model: Any, file: Path) -> None:
    import tensorflow as tf

    images = tf.TensorSpec((None, None, None, model.input_shape[-1]), tf.float32, name="images")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # Keras asks NumPy for names that it no longer has
        model.export(file, format="onnx", input_signature=[images], verbose=False)


def _onnx_lines(channels: int) -> str:
    return f"""`{ONNX_FILE}` is the same for ONNX runtimes, images as above, any number of any size:

```python
import onnxruntime
session = onnxruntime.InferenceSession("{ONNX_FILE}")
(features,) = session.run(None, {{"images": images}})  # images: (B, H, W, {channels}) float32
```

"""


def _plain(model: Any) -> Any:
    """The same model of Keras's own layers only."""
    import keras

    def plain(layer: Any) -> Any:
        kind = getattr(keras.layers, KERAS_LAYERS.get(type(layer).__name__, ""), type(layer))
        return kind.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=plain, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def _card(pretraining: Pretraining, data: str, recipe: Recipe, view: View, layer: str, more: str) -> str:
    facts, settings = pretraining.manifest, recipe.pretrain
    channels = {1: "grey", 3: "RGB"}.get(int(facts["channels"]), str(facts["channels"]))
    seen = "the largest centred square" if view.centre else "the whole image, squashed to a square"
    mirror = " The accuracies are of features averaged over the image and its mirror image." if view.mirror else ""
    norm = f" with {recipe.head.norm} norm" if recipe.head.normed else ""
    loss = recipe.loss.name + (f" weighted with sigma {recipe.loss.sigma:g}" if recipe.loss.weights_positives else "")
    return f"""# {recipe.encoder.name}, pretrained with SimCLR on {data}, up to `{layer}`

```python
import keras
model = keras.models.load_model("{KERAS_FILE}")
features = model(images)  # images: (B, H, W, {facts["channels"]}) float32, {channels}, values from 0 to 1
```

`{SAVED_MODEL}/` is the same for TensorFlow: `model = tf.saved_model.load("{SAVED_MODEL}")`, then `model.serve(images)`.
Images are {seen}, resized to {view.size} x {view.size} pixels with antialiasing; any size works.{mirror}

{more}| | |
|---|---|
| data | {data}, content {facts["identity"]["data.digest"][:16]}, labels not used |
| network | encoder {recipe.encoder.name} {recipe.encoder.widths}, head {recipe.head.name}{norm} |
| views | {recipe.augment.name}, at {settings.sizes} |
| training | {facts["epochs"]} epochs, batch {settings.batch_size}, loss {loss}, temperature {settings.temperature:g}, \
{recipe.optimizer.name} {recipe.optimizer.learning_rate:g}, {facts["precision"]}, seed {recipe.seed} |
| took | {facts["seconds"]:,.0f} s; loss {facts["loss"]:.4f}, contrastive accuracy {facts["contrastive_accuracy"]:.4f} |
| made with | {", ".join(f"{name} {version}" for name, version in facts["versions"].items())} |
| key | {pretraining.key} |
"""


def _accuracies(pretraining: Pretraining, root: str | Path) -> str:
    rows = []
    for _, record in result.records(root):
        if record["status"] == "finished" and record["probe"] and record["pretraining"]["key"] == pretraining.key:
            accuracy, cell = record["probe"]["test_accuracy"], record["cell"]
            low, high = accuracy["ci95"]
            on = f" on {cell['transfer']}" if cell.get("transfer") else ""
            rows.append(
                f"| {cell['layer']['name']} | {cell['probe']}{on} | {cell['label_fraction']:g} "
                f"| {accuracy['mean']:.3f} [{low:.3f}, {high:.3f}] "
                f"| {record['baselines']['untrained']['mean']:.3f} | {record['baselines']['pixels']['mean']:.3f} |"
            )
    if not rows:
        return "Its accuracy has not been measured."
    head = "| layer | probe | labels | test accuracy, 95 % interval | before training | raw pixels |"
    return "\n".join([head, "|---|---|---|---|---|---|", *sorted(rows)])
