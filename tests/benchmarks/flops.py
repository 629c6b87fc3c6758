"""Floating-point operations of a training step, as arithmetic, and what cards can do of them a second.

``python -m tests.benchmarks.flops [overrides]`` prints those of one image.
"""

from __future__ import annotations

import sys
from typing import Any

from simclr.config import Config
from simclr.model.network import build_network
from tests.benchmarks.recipe import compose_config

PEAK_TERAFLOPS = {7.0: 125.0, 7.5: 65.0, 8.0: 312.0, 8.6: 71.0, 8.9: 121.0, 9.0: 989.0}
"""Dense peak of the usual card of a compute capability in its fastest 16-bit mode: V100, T4, A100, A10, L4, H100."""

PASSES = 3
"""A forward pass, and a backward one that costs two: by inputs and by kernels."""


def step_flops(config: Config) -> float:
    """Of one image in training: two views, forward and backward, a multiplication and an addition being two."""
    return 2 * PASSES * sum(forward_flops(config, int(size)) * share for size, share in config.pretrain.sizes)


def forward_flops(config: Config, size: int) -> float:
    """Of one view's forward pass at a side in pixels: convolutions and dense layers, which is nearly all."""
    import tensorflow as tf

    network = build_network(config.encoder, config.head, 3, config.pretrain.side, 0)
    images = tf.zeros((1, size, size, 3))
    total = 0.0

    def counted(layer: Any, inputs: Any, outputs: Any) -> None:
        nonlocal total
        kernel = getattr(layer, "kernel", None)
        if kernel is not None:
            positions = outputs.shape[1] * outputs.shape[2] if len(outputs.shape) == 4 else 1
            total += 2.0 * positions * float(tf.size(kernel))

    _walk(network, images, counted)
    return total


def _walk(model: Any, inputs: Any, visit: Any) -> Any:
    """Call a model layer by layer, telling each call's layer, input and output."""
    import keras

    def call(operation: Any) -> Any:
        def called(*arguments: Any, **options: Any) -> Any:
            if isinstance(operation, keras.Model):
                return _walk(operation, arguments[0], visit)
            outputs = operation(*arguments, **options)
            visit(operation, arguments[0], outputs)
            return outputs

        return called

    return model._run_through_graph(inputs, operation_fn=lambda operation, **_: call(operation))


if __name__ == "__main__":
    print(step_flops(compose_config(*sys.argv[1:])))
