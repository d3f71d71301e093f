"""What a trained model runs in: PyTorch, or ONNX in float32 and in eight bits."""

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
    """A model of pairs whose sides are encoded apart, in its two halves.

    ``vectors`` gives ``(rows, width)`` of an even number of rows, ``compare`` logits ``(pairs, classes)``
    of the vectors ``(1, width)`` of one first side and ``(pairs, width)`` of several second ones.
    """

    vectors: Run
    compare: Callable[[Floats, Floats], Floats]


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


def tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    """What a model reads, on the CPU."""
    return tuple(map(torch.from_numpy, inputs))


def torch_run(model: PreTrainedModel, device: Device = CPU) -> Run:
    """A function from what a model on a device reads to its logits on the CPU."""

    @torch.inference_mode()
    def run(inputs: Inputs) -> NDArray[np.float32]:
        values = [value.to(device.device) for value in tensors(inputs)]
        with device.autocast():
            return model(*values).logits.float().cpu().numpy()

    return run


def torch_comparison(model: PreTrainedModel) -> Comparison | None:
    """Both halves of a model on the CPU; None where it does not encode the sides of a pair apart."""
    if not sides_apart(model):
        return None

    @torch.inference_mode()
    def vectors(inputs: Inputs) -> Floats:
        return model(*tensors(inputs)).vectors.numpy()

    return Comparison(vectors, _compare(model))


def _compare(model: PreTrainedModel) -> Callable[[Floats, Floats], Floats]:
    """What :class:`_Comparison` computes, in NumPy: its products of vectors are part of a product of matrices."""
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
    """A function from what a model reads to what an ONNX file gives, by default logits, on one thread."""
    runtime = _runtime(path)
    wanted = {one.name for one in runtime.get_inputs()}

    def run(inputs: Inputs) -> Floats:
        values = {name: value for name, value in zip(Inputs._fields, inputs, strict=True) if name in wanted}
        return np.asarray(runtime.run([output], values)[0])

    return run


def onnx_comparison(model: Path, compare: Path) -> Comparison:
    """Both halves of a model that :func:`write_onnx` and :func:`write_comparison` wrote."""
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
    """Whether a model encodes the two sides of a pair apart."""
    return bool(getattr(model.config, "sides_apart", False))


class _Logits(nn.Module):
    """Logits, and of sides that are apart the vectors that are compared."""

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
    """For sequences of any length; torch.export would unroll a GRU to one, the tracing exporter does not.

    Where sides are apart the model has an even number of rows, and gives ``vectors`` ``(rows, width)`` beside logits.
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
    """The half of a model that compares the vectors of two sides: ``first`` and ``second`` ``(pairs, width)``.

    There may be one ``first`` for all ``second``.
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
        # What is exported is put back into the mode of the outermost module, which is new: it would train.
        torch.onnx.export(model.eval(), values, str(path), **settings)


def quantize(source: Path, target: Path) -> None:
    """Weights of matrix products in eight bits, of which seven are used, activations as they come.

    Processors without VNNI add up products of eight bits in sixteen, where those of eight and seven bits fit: with the
    eighth one a file that agreed where it was made would answer otherwise there.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    # The shapes that torch wrote down keep the quantizer from inferring those of what it makes.
    del model.graph.value_info[:]
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        quantize_dynamic(model, target, weight_type=QuantType.QInt8, reduce_range=True)
    finally:
        root.setLevel(level)
