"""Device and precision of a model: chosen by the machine, never part of a node's identity."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Device:
    """Device of a model and dtype of its autocast; float32 means no autocast."""

    device: torch.device
    dtype: torch.dtype

    def autocast(self) -> AbstractContextManager[None]:
        """Context manager in which a forward pass runs in this precision."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def describe(self) -> dict[str, str]:
        """Names of device and precision, for the manifest."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        return {"device": name, "precision": str(self.dtype).removeprefix("torch.")}


CPU = Device(torch.device("cpu"), torch.float32)


def choose_device(model: PreTrainedModel) -> Device:
    """Choose the GPU if there is one, and half precision where it pays.

    That is bf16 on GPUs that have it and fp16 on others, and for transformers bf16 on CPUs that have it. Models with
    ``own_layers`` gain little or nothing by it on CPUs: a GRU is slower in bf16, and layers as small as those of
    ``codekd-conv`` are a fifth faster at best, for which they repeat less well.
    """
    if torch.cuda.is_available():
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return Device(torch.device("cuda", torch.cuda.current_device()), torch.bfloat16 if bf16 else torch.float16)
    bf16 = cpu_has_bf16() and not has_own_layers(model)
    return Device(torch.device("cpu"), torch.bfloat16 if bf16 else torch.float32)


def set_training_attention(model: PreTrainedModel, device: Device) -> None:
    """Make an encoder on a CPU use unfused attention: PyTorch's fused one is slow to differentiate there."""
    if device.device.type == "cpu" and not has_own_layers(model):
        model.set_attn_implementation("eager")


def has_own_layers(model: PreTrainedModel) -> bool:
    """Whether a model declares ``own_layers``: layers that are not those of a transformer."""
    return bool(getattr(model, "own_layers", False))


def cpu_has_bf16() -> bool:
    """Whether this processor has units for bf16 (AVX-512 BF16 or AMX)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
