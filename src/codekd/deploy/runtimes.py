"""Runtimes of a trained model: PyTorch, and ONNX in float32 and in eight bits.

A ``Run`` is a function from a model's inputs ``(rows, length)`` to an output in float32, mostly logits ``(examples,
classes)``.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from codekd.data.inputs import Inputs
from codekd.models.device import CPU, Device, has_own_layers
from codekd.models.pooling import compared

MODEL, SMALL, COMPARE = "model.onnx", "model.int8.onnx", "compare.onnx"
NEEDED = ("onnx", "onnxscript", "onnxruntime")
INSTALL = "pip install 'codekd[deploy]'"

Floats = NDArray[np.float32]
Run = Callable[[Inputs], Floats]


@dataclass(frozen=True)
class Comparison:
    """The two halves of a model of pairs that encodes the sides of a pair apart.

    Attributes:
        vectors: maps the inputs of an even number of sides to their vectors, ``(rows, width)``.
        compare: maps the vectors of one first side, ``(1, width)``, and of several second ones, ``(pairs, width)``, to
            logits, ``(pairs, classes)``.
    """

    vectors: Run
    compare: Callable[[Floats, Floats], Floats]


def onnx_is_installed() -> bool:
    """Whether models can be written as ONNX and run in it."""
    return all(find_spec(name) for name in NEEDED)


@contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """Context in which PyTorch uses ``count`` CPU threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    """A model's inputs as tensors on the CPU, in the order of :class:`Inputs`."""
    return tuple(map(torch.from_numpy, inputs))


def torch_run(model: PreTrainedModel, device: Device = CPU) -> Run:
    """A function from inputs to the logits of a model in PyTorch; ``device`` is the one that the model is on."""

    @torch.inference_mode()
    def run(inputs: Inputs) -> NDArray[np.float32]:
        values = [value.to(device.device) for value in tensors(inputs)]
        with device.autocast():
            return model(*values).logits.float().cpu().numpy()

    return run


def torch_comparison(model: PreTrainedModel) -> Comparison | None:
    """Both halves of a model in PyTorch on the CPU; None where it does not encode the sides of a pair apart."""
    if not sides_apart(model):
        return None

    @torch.inference_mode()
    def vectors(inputs: Inputs) -> Floats:
        return model(*tensors(inputs)).vectors.numpy()

    return Comparison(vectors, _compare(model))


def _compare(model: PreTrainedModel) -> Callable[[Floats, Floats], Floats]:
    """:class:`_Comparison` in NumPy, with the products of vectors folded into a product of matrices."""
    head, projector = model.head, model.projector
    weight, bias = head.dense.weight.detach(), head.dense.bias.detach()
    if isinstance(projector, nn.Linear):
        weight, bias = weight @ projector.weight.detach(), weight @ projector.bias.detach() + bias
    apart, alike = (half.numpy() for half in weight.chunk(2, dim=1))
    of_hidden, of_class, of_classes = bias.numpy(), head.out_proj.bias.detach().numpy(), head.out_proj.weight.detach()

    def compare(first: Floats, second: Floats) -> Floats:
        hidden = np.abs(second - first) @ apart.T
        hidden += second @ (alike * first).T
        hidden += of_hidden
        return np.tanh(hidden, out=hidden) @ of_classes.numpy().T + of_class

    return compare


def session(path: Path, output: str = "logits") -> Run:
    """A function from inputs to an ``output`` of the model in an ONNX file, on one CPU thread."""
    runtime = _runtime(path)
    wanted = {one.name for one in runtime.get_inputs()}

    def run(inputs: Inputs) -> Floats:
        values = {name: value for name, value in zip(Inputs._fields, inputs, strict=True) if name in wanted}
        return np.asarray(runtime.run([output], values)[0])

    return run


def onnx_comparison(model: Path, compare: Path) -> Comparison:
    """Both halves of a model in ONNX, on one CPU thread.

    Args:
        model: file of :func:`write_onnx`.
        compare: file of :func:`write_comparison`.
    """
    runtime = _runtime(compare)
    return Comparison(
        session(model, "vectors"),
        lambda first, second: np.asarray(runtime.run(["logits"], {"first": first, "second": second})[0]),
    )


def _runtime(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def sides_apart(model: PreTrainedModel) -> bool:
    """Whether a model encodes the two sides of a pair apart, each to a vector."""
    return bool(getattr(model.config, "sides_apart", False))


class _Logits(nn.Module):
    """A model with logits as output, and the sides' vectors as well where it encodes them apart."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> Tensor | tuple[Tensor, Tensor]:
        output = self.model(input_ids, attention_mask, token_type_ids)
        return (output.logits, output.vectors) if sides_apart(self.model) else output.logits


class _Comparison(nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.projector, self.head = model.projector, model.head

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.head(self.projector(compared(first, second)))


def write_onnx(model: PreTrainedModel, inputs: Inputs, path: Path) -> None:
    """Write a model as ONNX for batches and sequences of any size.

    A model that encodes the sides of a pair apart takes an even number of rows and has the output ``vectors``,
    ``(rows, width)``, beside ``logits``. Models with layers of this package use the tracing exporter, because
    torch.export would unroll a GRU to the length of the example.

    Args:
        model: the model.
        inputs: an example of its inputs, which the exporter runs.
        path: file to write.
    """
    apart = sides_apart(model)
    outputs = ["logits", "vectors"] if apart else ["logits"]
    settings: dict[str, Any] = {"input_names": list(Inputs._fields), "output_names": outputs, "external_data": False}
    if has_own_layers(model):
        axes = {name: {0: "rows" if apart else "batch", 1: "length"} for name in Inputs._fields}
        axes |= {"logits": {0: "batch"}}
        settings |= {"dynamo": False, "dynamic_axes": axes | ({"vectors": {0: "rows"}} if apart else {})}
    else:
        examples = torch.export.Dim("batch")
        sizes = {0: 2 * examples if apart else examples, 1: torch.export.Dim("length", min=2)}
        settings |= {"dynamo": True, "dynamic_shapes": dict.fromkeys(Inputs._fields, sizes), "verbose": False}
    _write(_Logits(model), tensors(inputs), path, settings)


def write_comparison(model: PreTrainedModel, path: Path) -> None:
    """Write as ONNX the half of a model that compares the vectors of two sides.

    Its inputs ``first`` and ``second`` are ``(pairs, width)``, where one ``first`` may serve for all ``second``; its
    output ``logits`` is ``(pairs, classes)``.
    """
    width = model.projector.in_features if isinstance(model.projector, nn.Linear) else model.head.dense.in_features
    values = torch.ones(1, width // 2), torch.ones(3, width // 2)
    settings: dict[str, Any] = {"input_names": ["first", "second"], "output_names": ["logits"], "dynamo": False}
    settings |= {"dynamic_axes": {"first": {0: "firsts"}, "second": {0: "seconds"}, "logits": {0: "pairs"}}}
    _write(_Comparison(model), values, path, settings)


def _write(model: nn.Module, values: tuple[Tensor, ...], path: Path, settings: dict[str, Any]) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The exporter restores the mode of the outermost module: that of a new wrapper would be training.
        torch.onnx.export(model.eval(), values, str(path), **settings)


def quantize(source: Path, target: Path) -> None:
    """Write an ONNX model with the weights of matrix products in eight bits, and activations quantized at run time.

    Only seven of the bits are used. Processors without VNNI add up products of activations and weights in sixteen bits,
    where those of eight and seven bits fit: with the eighth bit a file would answer otherwise there than where it was
    checked.

    Args:
        source: file of the model in float32.
        target: file to write.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    # Shapes recorded by torch keep the quantizer from inferring those of the tensors that it adds.
    del model.graph.value_info[:]
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        quantize_dynamic(model, target, weight_type=QuantType.QInt8, reduce_range=True)
    finally:
        root.setLevel(level)
