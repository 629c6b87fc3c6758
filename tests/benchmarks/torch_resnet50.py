"""ResNet-50 and NT-Xent in PyTorch on a GPU, for :mod:`tests.benchmarks.gpu`: ``eager|compiled:BATCH ...``.

Channels last, bfloat16 autocast, views given, fused SGD; run by an interpreter that has ``torch`` and ``torchvision``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks.turns import Step, serve

STEPS = 30


def nt_xent(embeddings: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """SimCLR's loss on (2N, D)."""
    directions = functional.normalize(embeddings.float(), dim=1)
    similarity = directions @ directions.T / temperature
    similarity.fill_diagonal_(-1e9)
    count = len(embeddings)
    return functional.cross_entropy(similarity, (torch.arange(count, device="cuda") + count // 2) % count)


def prepared(spec: str) -> tuple[float, Step]:
    """A step that is compiled and warm: seconds to there, and what times it."""
    kind, batch_text = spec.split(":")
    batch = int(batch_text)
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    encoder = torchvision.models.resnet50(weights=None)
    encoder.fc = nn.Sequential(nn.Linear(2048, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 50))
    model: Any = encoder.cuda().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    views = torch.rand(2 * batch, 3, 224, 224, device="cuda").contiguous(memory_format=torch.channels_last)
    run = torch.compile(model) if kind == "compiled" else model

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            embeddings = run(views)
        nt_xent(embeddings).backward()
        optimizer.step()

    begun = time.perf_counter()
    step()
    torch.cuda.synchronize()
    compiled = time.perf_counter() - begun
    for _ in range(10):
        step()
    torch.cuda.synchronize()

    def steps() -> float:
        begun = time.perf_counter()
        for _ in range(STEPS):
            step()
        torch.cuda.synchronize()
        return (time.perf_counter() - begun) / STEPS

    return compiled, steps


if __name__ == "__main__":
    serve((spec, lambda spec=spec: prepared(spec)) for spec in sys.argv[1:])  # type: ignore[misc]
