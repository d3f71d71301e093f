"""A trained model as ONNX, with all that is needed to use it, held to PyTorch on real examples."""

import json
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from codekd.data.batches import Batch, Encoded, Rows, load_encoded
from codekd.deploy.speed import spread, threads_of_torch
from codekd.errors import CodekdError
from codekd.models import bigru, encoder  # noqa: F401  (registers the classes)
from codekd.models.device import RECURRENT
from codekd.models.vocabulary import copy_tokenizer
from codekd.study.folders import folder_of
from codekd.study.manifest import check_files, read_manifest

MODEL, SMALL, SETTINGS = "model.onnx", "model.int8.onnx", "codekd.json"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
EXAMPLES, BATCH = 64, 16
TOLERANCE = 1e-3
"""Largest difference of a logit, for logits of ordinary size."""

FASTER = 0.95
Run = Callable[[Batch], NDArray[np.float32]]


@dataclass(frozen=True)
class Cell:
    """A trained teacher or student with what it reads, how that was made (its ``spec``), and the kind of its task."""

    folder: Path
    manifest: Mapping[str, Any]
    encoded: Path
    spec: Mapping[str, Any]
    kind: str

    @classmethod
    def load(cls, folder: Path) -> "Cell":
        """Find what a cell was trained on in the results that it lies in.

        Raises:
            CodekdError: the folder is no trained model, or something is not what was written.
        """
        manifest = read_manifest(folder)
        if manifest["stage"] not in ("students", "teachers") or "encoded" not in manifest["parents"]:
            raise CodekdError(
                f"{folder} is of the stage {manifest['stage']!r}; give the folder of a student or of a fine-tuned "
                "teacher, such as results/students/.../seed1-ab12..."
            )
        results = folder.resolve().parents[len(manifest["coordinates"])]
        encoded = folder_of(results, manifest["parents"]["encoded"])
        read = read_manifest(encoded)
        check_files(folder, manifest)
        check_files(encoded, read)
        examples = folder_of(results, read["parents"]["examples"])
        return cls(folder, manifest, encoded, read["spec"], read_manifest(examples)["spec"]["task"]["kind"])

    @property
    def name(self) -> str:
        """Its coordinates, e.g. ``exception/minilm/bigru-1.5m/ckd/seed1``."""
        return "/".join(self.manifest["coordinates"])

    def model(self) -> PreTrainedModel:
        """The model, ready to predict."""
        disable_progress_bar()
        return AutoModelForSequenceClassification.from_pretrained(self.folder, local_files_only=True).eval()


def export(cell: Cell, out: Path) -> dict[str, Any]:
    """Write ``model.onnx``, its tokenizer and its settings, and ``model.int8.onnx`` where that is faster here.

    Returns what was measured on real examples: the largest difference of a logit to PyTorch's, and milliseconds an
    example, one at a time on one thread.

    Raises:
        CodekdError: ONNX is not installed, or gives other logits than PyTorch.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as temporary:
        work = Path(temporary)
        copy_tokenizer(cell.encoded, work)
        measured = convert(cell.model(), load_encoded(cell.encoded, ["valid"]), work)
        reads = {key: cell.spec[key] for key in ("classes", "columns", "has_hole", "max_length", "prefix")}
        about = {"cell": cell.name, "identity": cell.manifest["identity"], "kind": cell.kind, **reads}
        about |= {"measured": measured}
        (work / SETTINGS).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
        (out / SMALL).unlink(missing_ok=True)
        for path in work.iterdir():
            path.replace(out / path.name)
    return measured


def convert(model: PreTrainedModel, data: Encoded, out: Path) -> dict[str, Any]:
    """Write a model into a folder as ``model.onnx``, and as ``model.int8.onnx`` where that is faster here.

    Returns and raises what :func:`export` does.
    """
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        raise CodekdError("export needs onnx, onnxscript and onnxruntime: pip install 'codekd[deploy]'") from None
    rows = spread(data, EXAMPLES)
    _write_onnx(model, data.batch(rows[-4:], torch.device("cpu")), out / MODEL)
    return _measured(model, data, rows, out)


def torch_run(model: PreTrainedModel) -> Run:
    """A function from a batch to its logits, of a model on the CPU."""

    @torch.inference_mode()
    def run(batch: Batch) -> NDArray[np.float32]:
        return model(batch.input_ids, batch.attention_mask, batch.token_type_ids).logits.numpy()

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


@threads_of_torch(1)
def _measured(model: PreTrainedModel, data: Encoded, rows: Rows, out: Path) -> dict[str, Any]:
    cpu = torch.device("cpu")
    alone = [data.batch(rows[[index]], cpu) for index in range(len(rows))]
    together = [data.batch(rows[start : start + BATCH], cpu) for start in range(0, len(rows), BATCH)]

    by_torch = torch_run(model)
    by_onnx = session(out / MODEL)
    differences = [np.abs(by_torch(batch) - by_onnx(batch)).max() for batch in (*alone, *together)]
    difference, largest = float(max(differences)), max(1.0, float(np.abs(by_torch(together[0])).max()))
    if not difference <= TOLERANCE * largest:
        raise CodekdError(f"{out / MODEL} gives logits that differ from PyTorch's by up to {difference:.2g}.")
    measured: dict[str, Any] = {"examples": len(rows), "largest_difference": difference}
    measured["milliseconds"] = {"pytorch": _milliseconds(by_torch, alone), "onnx": _milliseconds(by_onnx, alone)}
    _quantize(out / MODEL, out / SMALL)
    by_int8 = session(out / SMALL)
    measured["milliseconds"]["int8"] = _milliseconds(by_int8, alone)
    same = [by_int8(batch).argmax(1) == by_onnx(batch).argmax(1) for batch in together]
    measured["int8_agreement"] = float(np.concatenate(same).mean())
    measured["int8_kept"] = measured["milliseconds"]["int8"] < FASTER * measured["milliseconds"]["onnx"]
    if not measured["int8_kept"]:
        (out / SMALL).unlink()
    measured["megabytes"] = {
        path.name: round(path.stat().st_size / 1e6, 2) for path in (out / MODEL, out / SMALL) if path.exists()
    }
    return measured


def _milliseconds(run: Run, batches: Sequence[Batch]) -> float:
    """The median over batches, after a first round that warms up."""
    for batch in batches:
        run(batch)
    times = []
    for batch in batches:
        start = time.perf_counter()
        run(batch)
        times.append(1000 * (time.perf_counter() - start))
    return round(median(times), 3)


class _Logits(nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        return self.model(input_ids, attention_mask, token_type_ids).logits


def _write_onnx(model: PreTrainedModel, batch: Batch, path: Path) -> None:
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


def _quantize(source: Path, target: Path) -> None:
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
