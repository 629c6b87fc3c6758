"""The recipe's training step in PyTorch, for :mod:`tests.benchmarks.programs`: another program, another process.

Run by an interpreter that has ``torch``, with eager|compiled, float32|bfloat16, image size, batch and threads as
arguments. Prints ``ready`` after its first steps, then answers every line on standard input with a step's seconds.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from torch import nn
from torch.nn import functional

WIDTHS = (32, 64, 128, 256)
STEPS, WARM_UP = 3, 4


def conv_norm(inputs: int, outputs: int, size: int, stride: int) -> nn.Sequential:
    """A convolution and its batch norm."""
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs, eps=1e-5, momentum=0.02))


class Block(nn.Module):  # type: ignore[misc]
    """A basic residual block with an average-pooled shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv_norm(inputs, outputs, 3, stride)
        self.second = conv_norm(outputs, outputs, 3, 1)
        pool = [nn.AvgPool2d(2)] if stride == 2 else []
        self.shortcut = (
            nn.Sequential(*pool, conv_norm(inputs, outputs, 1, 1))
            if stride == 2 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to (B, C', H / stride, W / stride)."""
        inner = functional.relu(self.first(maps), inplace=True)
        return functional.relu(self.second(inner) + self.shortcut(maps), inplace=True)


def network() -> nn.Sequential:
    """``small_resnet`` with two ReLU layers in its head."""
    blocks: list[nn.Module] = [conv_norm(3, WIDTHS[0], 3, 2), nn.ReLU(inplace=True)]
    for stage, width in enumerate(WIDTHS):
        blocks.append(Block(WIDTHS[max(stage - 1, 0)], width, 1 if stage == 0 else 2))
    head = [nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 50)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head)


def nt_xent(embeddings: torch.Tensor, temperature: float = 0.2) -> torch.Tensor:
    """SimCLR's loss on (2N, D)."""
    directions = functional.normalize(embeddings.float(), dim=1)
    similarity = directions @ directions.T / temperature
    similarity.fill_diagonal_(-1e9)
    count = len(embeddings)
    return functional.cross_entropy(similarity, (torch.arange(count) + count // 2) % count)


def main(kind: str, precision: str, size: int, batch: int, threads: int) -> None:
    """Train, a few steps for each line that comes in."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model: Any = network().to(memory_format=torch.channels_last)
    views = torch.rand(2 * batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    run = torch.compile(model) if kind == "compiled" else model

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            embeddings = run(views)
        nt_xent(embeddings).backward()
        optimizer.step()

    for _ in range(WARM_UP):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        begun = time.perf_counter()
        for _ in range(STEPS):
            step()
        print((time.perf_counter() - begun) / STEPS, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))
