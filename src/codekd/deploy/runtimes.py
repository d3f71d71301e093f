"""What a trained model runs in: PyTorch, or ONNX in float32 and in eight bits."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from codekd.data.batches import Batch
from codekd.models.device import RECURRENT, Device

MODEL, SMALL = "model.onnx", "model.int8.onnx"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
NEEDED = ("onnx", "onnxscript", "onnxruntime")
INSTALL = "pip install 'codekd[deploy]'"
CPU = Device(torch.device("cpu"), torch.float32)

Run = Callable[[Batch], NDArray[np.float32]]


def onnx_is_installed() -> bool:
    """Whether models can be written as ONNX and run in it."""
    return all(find_spec(name) for name in NEEDED)


@contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """So many threads on the CPU, as long as this lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def torch_run(model: PreTrainedModel, device: Device = CPU) -> Run:
    """A function from a batch on the CPU to its logits there, of a model on a device."""

    @torch.inference_mode()
    def run(batch: Batch) -> NDArray[np.float32]:
        values = [getattr(batch, name).to(device.device) for name in INPUTS]
        with device.autocast():
            return model(*values).logits.float().cpu().numpy()

    return run


def session(path: Path) -> Run:
    """A function from a batch to its logits, of an ONNX file, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    runtime = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted = {one.name for one in runtime.get_inputs()}

    def run(batch: Batch) -> NDArray[np.float32]:
        values = {name: getattr(batch, name).numpy() for name in INPUTS if name in wanted}
        return np.asarray(runtime.run(None, values)[0])

    return run


class _Logits(nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        return self.model(input_ids, attention_mask, token_type_ids).logits


def write_onnx(model: PreTrainedModel, batch: Batch, path: Path) -> None:
    """For sequences of any length; torch.export would unroll a GRU to one, the tracing exporter does not."""
    values = tuple(getattr(batch, name) for name in INPUTS)
    settings: dict[str, Any] = {"input_names": list(INPUTS), "output_names": ["logits"], "external_data": False}
    if model.config.model_type in RECURRENT:
        axes = {name: {0: "batch", 1: "length"} for name in INPUTS} | {"logits": {0: "batch"}}
        settings |= {"dynamo": False, "dynamic_axes": axes}
    else:
        sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", min=2)}
        settings |= {"dynamo": True, "dynamic_shapes": dict.fromkeys(INPUTS, sizes), "verbose": False}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(_Logits(model), values, str(path), **settings)


def quantize(source: Path, target: Path) -> None:
    """Weights of matrix products in eight bits, activations as they come."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    # The shapes that torch wrote down keep the quantizer from inferring those of what it makes.
    del model.graph.value_info[:]
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        quantize_dynamic(model, target, weight_type=QuantType.QInt8)
    finally:
        root.setLevel(level)
