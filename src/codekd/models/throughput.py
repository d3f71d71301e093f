"""Measurement of the floating-point operations per second that one core of this machine does in training."""

import time

import torch
from torch import nn

from codekd.models.device import cpu_has_bf16

WIDTH, HEADS, FEED_FORWARD, LAYERS = 384, 12, 1536, 2
"""Sizes of MiniLM, but for the number of its layers."""

BATCH, LENGTH = 32, 80
SECONDS = 4.0


def training_flops() -> tuple[float, float]:
    """Measure operations per second of CPU time in bf16 (0 without units for it) and in float32.

    A training step counts as six operations for every weight and token.
    """
    float32 = _flops(torch.float32)
    return (_flops(torch.bfloat16) if cpu_has_bf16() else 0.0), float32


def _flops(dtype: torch.dtype) -> float:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, FEED_FORWARD, batch_first=True)
    model = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False).train()
    work = 6 * sum(weight.numel() for weight in model.parameters()) * BATCH * LENGTH
    states = torch.randn(BATCH, LENGTH, WIDTH)
    threads, done = torch.get_num_threads(), 0
    torch.set_num_threads(1)
    try:
        _step(model, states, dtype)  # untimed: the first step makes the kernels
        start = time.process_time()
        while (spent := time.process_time() - start) < SECONDS:
            _step(model, states, dtype)
            done += work
    finally:
        torch.set_num_threads(threads)
    return done / spent


def _step(model: nn.Module, states: torch.Tensor, dtype: torch.dtype) -> None:
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        loss = model(states).float().square().mean()
    loss.backward()
