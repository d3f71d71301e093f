"""Stage ``inference``: time, memory and size of serving a student, measured in turns with its teacher.

Parents: ``examples``; ``encoded``, which says how the student reads code; and ``teacher`` with ``teacher_encoded``,
where the teacher is a model of the study. The spec has the student's ``architecture``, ``classes`` and ``pooling``, and
whether it ``reuses_head`` of its teacher; its weights do not matter. Writes ``inference.json``: of both models the
parameters, the floating-point operations and tokens of an example, and the peak of memory in bytes; and for every
runtime, alone and in batches, the milliseconds of an example on one thread, from code to logits, and how many times as
long the teacher takes. The machine is in the manifest and in no identity; whether it was busy is recorded with each
number.
"""

import copy
import json
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from codekd.data.encoded import encoding_of
from codekd.data.inputs import Inputs
from codekd.data.read import read_examples
from codekd.deploy.runtimes import (
    INSTALL,
    MODEL,
    SMALL,
    Run,
    onnx_is_installed,
    quantize,
    session,
    tensors,
    threads_of_torch,
    torch_run,
    write_onnx,
)
from codekd.deploy.timing import Times, ratio, spread, take_turns
from codekd.errors import CodekdError
from codekd.memory import peak_memory
from codekd.models import register  # noqa: F401  (registers the classes)
from codekd.models.device import choose_device
from codekd.models.head import reuse_head
from codekd.models.vocabulary import read_vocabulary
from codekd.progress import track
from codekd.study import components
from codekd.study.manifest import read_manifest

if TYPE_CHECKING:
    from codekd.study.job import Job

Code = tuple[str, ...]
"""Code of an example: one piece, or the two sides of a pair."""

Turns = Mapping[int, Sequence[Sequence[Code]]]
"""Examples by batch size: a sequence of turns, each with the examples that are answered together."""

ALONE, IN_A_ROW, TOGETHER, BATCH, COUNTED = 48, 8, 96, 32, 12
"""Numbers of examples: answered one at a time, of these in a row before the other model's turn, answered in batches,
in a batch, and those whose operations and tokens are counted.
"""

LONGEST, FEWEST = 5.0, 8
"""Seconds after which no new turn begins, and the smallest number of examples that are answered all the same."""

log = logging.getLogger("codekd")


class Runtime(NamedTuple):
    """Runtime of a model: ``pytorch`` or ``onnx``, its precision, and the device."""

    runtime: str
    precision: str
    device: str


@dataclass(frozen=True)
class Served:
    """A model that is ready to answer.

    Attributes:
        facts: parameters, operations and tokens of an example, peak memory, and why there is no ONNX, if so.
        bytes: size of the model in every runtime.
        read: maps the code of examples to the model's inputs.
        batches: inputs of the examples of every turn, by batch size.
        runs: maps inputs to logits, in every runtime.
    """

    facts: Mapping[str, Any]
    bytes: Mapping[Runtime, int]
    read: Callable[[Sequence[Code]], Inputs]
    batches: Mapping[int, Sequence[Inputs]]
    runs: Mapping[Runtime, Run]

    def works(self, runtime: Runtime, size: int, turns: Sequence[Sequence[Code]]) -> list[Callable[[int], object]]:
        """The two steps of an answer, as functions of a turn's number: encoding of the code, and the model itself."""
        run, batches = self.runs[runtime], self.batches[size]
        return [lambda turn: self.read(turns[turn]), lambda turn: run(batches[turn])]


def run(jobs: "Sequence[Job]", folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Measure students one after another, write each one's ``inference.json``, and return what these files hold.

    Students of one teacher are best given together, because the teacher is then prepared once.
    """
    teacher_of = lru_cache(1)(_teacher)  # written as ONNX once for all its students, and one at a time in memory
    found = []
    with threads_of_torch(1):
        for job, folder in track(list(zip(jobs, folders, strict=True)), description="inference", unit="student"):
            models = {}
            if "teacher" in job.parents:
                models["teacher"] = teacher_of(
                    *(job.parents[role] for role in ("teacher", "teacher_encoded", "examples"))
                )
            models["student"] = _student(job)
            found.append(_measured(models, turns_of(job.parents["examples"], job.parents["encoded"])))
            (folder / "inference.json").write_text(json.dumps(found[-1], indent=1) + "\n")
    return found


def _teacher(folder: Path, encoded: Path, examples: Path) -> Served:
    def load() -> PreTrainedModel:
        return AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)

    return _served(load, encoded, turns_of(examples, encoded), f"the teacher in {folder}")


def _student(job: "Job") -> Served:
    def build() -> PreTrainedModel:
        architecture = components.parse("students", job.spec["architecture"])
        vocabulary = read_vocabulary(job.parents["encoded"])
        model: PreTrainedModel = architecture.build(vocabulary, job.spec["classes"], job.spec["pooling"])
        if job.spec["reuses_head"]:
            reuse_head(model, job.parents["teacher"])
        return model

    return _served(build, job.parents["encoded"], turns_of(job.parents["examples"], job.parents["encoded"]), job.name)


def turns_of(examples: Path, encoded: Path) -> Turns:
    """Test examples of all lengths, one at a time and in batches, the same ones for all models of a task.

    Args:
        examples: folder of the task's examples.
        encoded: folder of an ``encoded`` node, whose spec names the columns of code.
    """
    return _turns(examples, tuple(read_manifest(encoded)["spec"]["columns"]))


@lru_cache(1)
def _turns(examples: Path, columns: tuple[str, ...]) -> Turns:
    code: list[Code] = read_examples(examples, "test", columns).select(columns).rows()
    lengths = np.array([sum(map(len, one)) for one in code])
    alone, together = ([code[row] for row in spread(lengths, count)] for count in (ALONE, TOGETHER))
    starts = range(0, len(together), BATCH)
    return {1: [[one] for one in alone], BATCH: [together[start : start + BATCH] for start in starts]}


def _served(load: Callable[[], PreTrainedModel], encoded: Path, turns: Turns, name: str) -> Served:
    encoding = encoding_of(encoded, read_manifest(encoded)["spec"], remembered=0)
    batches = {size: [encoding.read(examples).inputs for examples in own] for size, own in turns.items()}
    with peak_memory() as peak:
        model = load().eval()
        for own in batches.values():
            torch_run(model)(max(own, key=lambda inputs: inputs.input_ids.size))
    in_torch = Runtime("pytorch", "float32", "cpu")
    runs = {in_torch: torch_run(model)}
    sizes = {in_torch: sum(weight.numel() * weight.element_size() for weight in model.parameters())}
    reason = None
    try:
        in_onnx, sizes_in_onnx = _in_onnx(model, batches[BATCH][0])
    except Exception as error:  # exporters do not support all encoders: PyTorch is measured all the same
        reason = str(error)
        if not isinstance(error, CodekdError):
            reason = f"It cannot be written as ONNX: {type(error).__name__}: {reason.partition(chr(10))[0]}"
        log.warning("%s is measured in PyTorch alone. %s.", name, reason)
    else:
        runs, sizes = runs | in_onnx, sizes | sizes_in_onnx
    if (device := choose_device(model)).device.type == "cuda":
        told = device.describe()
        on_gpu = Runtime("pytorch", told["precision"], told["device"])
        runs[on_gpu], sizes[on_gpu] = torch_run(copy.deepcopy(model).to(device.device), device), sizes[in_torch]
    facts = {
        "parameters": model.num_parameters(),
        "flops": _flops(model, batches[1][:COUNTED]),
        "tokens": float(np.mean([batch.input_ids.size for batch in batches[1][:COUNTED]])),
        "peak_bytes": peak[0],
        "without_onnx": reason,
    }
    return Served(facts, sizes, lambda shown: encoding.read(shown).inputs, batches, runs)


def _in_onnx(model: PreTrainedModel, inputs: Inputs) -> tuple[dict[Runtime, Run], dict[Runtime, int]]:
    """A model in ONNX in float32 and in eight bits, and the sizes of the files, both by runtime."""
    if not onnx_is_installed():
        raise CodekdError(f"onnx, onnxscript and onnxruntime are not installed ({INSTALL})")
    with tempfile.TemporaryDirectory() as folder:
        files = {"float32": Path(folder, MODEL), "int8": Path(folder, SMALL)}
        write_onnx(model, inputs, files["float32"])
        quantize(files["float32"], files["int8"])
        runtimes = {Runtime("onnx", precision, "cpu"): path for precision, path in files.items()}
        return (
            {runtime: session(path) for runtime, path in runtimes.items()},
            {runtime: path.stat().st_size for runtime, path in runtimes.items()},
        )


def _measured(models: Mapping[str, Served], turns: Turns) -> dict[str, Any]:
    runtimes = [one for one in models["student"].runs if all(one in model.runs for model in models.values())]
    return {
        "models": {name: dict(model.facts) for name, model in models.items()},
        "times": [
            {"model": name, **runtime._asdict(), "batch": size, "bytes": models[name].bytes[runtime], **row}
            for runtime in runtimes
            for size, own in turns.items()
            for name, row in _answered(models, runtime, size, own).items()
        ],
    }


def _answered(
    models: Mapping[str, Served], runtime: Runtime, size: int, turns: Sequence[Sequence[Code]]
) -> dict[str, dict[str, Any]]:
    works = [model.works(runtime, size, turns) for model in models.values()]
    alone = size == 1
    times = take_turns(works, len(turns), IN_A_ROW if alone else 1, 3 if alone else 1, LONGEST, -(-FEWEST // size))
    counts = np.array([len(examples) for examples in turns[: len(times.wall)]])
    return dict(zip(models, numbers(times, counts, runtime.device == "cpu"), strict=True))


def numbers(times: Times, counts: NDArray[np.integer], on_cpu: bool) -> list[dict[str, Any]]:
    """Milliseconds an example, and speed-ups over the first model, one record a model.

    Milliseconds are medians over turns of wall time, with quartiles, of tokenizer or lexer and model together and of
    each alone. Speed-ups are ratios of CPU time where models run on the CPU, because that does not count waiting for a
    core.

    Args:
        times: times of the models, each in two steps: its tokenizer or lexer, and the model itself.
        counts: number of examples of every turn, ``(turns,)``.
        on_cpu: whether the models ran on the CPU.
    """
    wall, cpu = (1000 * each / counts[:, None, None] for each in (times.wall, times.cpu))
    whole = (cpu if on_cpu else wall).sum(2)
    several = wall.shape[1] > 1
    return [
        {
            "turns": len(counts),
            **dict(zip(("milliseconds", "milliseconds_low", "milliseconds_high"), _quartiles(own.sum(1)), strict=True)),
            **dict(zip(("tokenizer_milliseconds", "model_milliseconds"), np.median(own, 0).tolist(), strict=True)),
            "cpu_milliseconds": float(np.median(cpu[:, place].sum(1))),
            "teacher_milliseconds": float(np.median(wall[:, 0].sum(1))) if several else None,
            "speed_up": ratio(whole[:, 0], whole[:, place]) if several else None,
            "busy": times.busy if on_cpu else None,
        }
        for place, own in enumerate(np.moveaxis(wall, 1, 0))
    ]


def _quartiles(values: NDArray[np.float64]) -> list[float]:
    return np.quantile(values, (0.5, 0.25, 0.75)).tolist()


@torch.inference_mode()
def _flops(model: PreTrainedModel, batches: Sequence[Inputs]) -> float:
    """Mean floating-point operations of a batch; only those of matrix products, which are nearly all."""
    counter = FlopCounterMode(display=False)
    with counter:
        for batch in batches:
            model(*tensors(batch))
    return counter.get_total_flops() / len(batches)
