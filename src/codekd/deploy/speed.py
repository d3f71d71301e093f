"""Stage ``inference``: what it takes to serve a model, measured on test examples of its task.

Parents: ``encoded``, and ``teacher`` for a teacher; of a student the spec has the ``architecture``, ``classes`` and
``pooling``: its weights do not matter. Leaves ``inference.json``: parameters, bytes of the weights, floating-point
operations of an example, peak memory in bytes, and for every device, number of threads and precision the milliseconds
of one example alone and the examples per second in batches. The machine should have nothing else to do meanwhile; it is
in the manifest, and in no identity.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from codekd.data.batches import Batch, Encoded, Rows, load_encoded
from codekd.memory import return_memory
from codekd.models import bigru, encoder  # noqa: F401  (registers the classes)
from codekd.models.device import Device, choose_device
from codekd.progress import track
from codekd.study import components

if TYPE_CHECKING:
    from codekd.study.job import Job

ALONE, TOGETHER, BATCH = 48, 96, 32
"""Examples that are answered one at a time, and those in batches."""

LONGEST, FEWEST = 5.0, 8
"""Seconds after which no more is asked, and how many examples are answered one at a time at least."""


def run(jobs: "Sequence[Job]", folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Measure models one after another."""
    pairs = list(zip(jobs, folders, strict=True))
    return [_run(job, folder) for job, folder in track(pairs, description="inference", unit="model")]


def _run(job: "Job", folder: Path) -> dict[str, Any]:
    data = load_encoded(job.parents["encoded"], ["test"])
    alone, together = (spread(data, count) for count in (ALONE, TOGETHER))
    with peak_memory() as peak:
        model = _model(job, data).eval()
        cpu = Device(torch.device("cpu"), torch.float32)
        times = [_times(model, data, alone, together, cpu, threads) for threads in sorted({1, cores()})]
    chosen = choose_device(model)
    if chosen != cpu:
        counts = [1] if chosen.device.type == "cuda" else sorted({1, cores()})
        times += [_times(model, data, alone, together, chosen, threads) for threads in counts]
    found = {
        "parameters": model.num_parameters(),
        "bytes": sum(weight.numel() * weight.element_size() for weight in model.parameters()),
        "flops": _flops(model.cpu(), data, alone),
        "tokens": float(data.lengths[alone].mean()),
        "peak_bytes": peak[0],
        "times": times,
    }
    (folder / "inference.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


def _model(job: "Job", data: Encoded) -> PreTrainedModel:
    if "teacher" in job.parents:
        return AutoModelForSequenceClassification.from_pretrained(job.parents["teacher"], local_files_only=True)
    architecture = components.parse("students", job.spec["architecture"])
    model: PreTrainedModel = architecture.build(data.vocabulary, job.spec["classes"], job.spec["pooling"])
    return model


def spread(data: Encoded, count: int) -> Rows:
    """The rows of so many examples of all lengths, in an order without meaning."""
    places = np.linspace(0, len(data) - 1, min(count, len(data))).astype(int)
    rows = np.argsort(data.lengths, kind="stable")[places]
    return np.random.default_rng(0).permutation(rows)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """So many threads on the CPU, as long as this lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """What the process needed at most inside, above what it had, in bytes; 0 where the system does not tell."""
    found = [0]
    return_memory()
    before = memory("VmRSS")
    # Writing 5 there starts the count of the peak anew.
    reset = Path("/proc/self/clear_refs")
    if os.access(reset, os.W_OK):
        reset.write_text("5")
    yield found
    found[0] = max(memory("VmHWM") - before, 0)


def memory(name: str) -> int:
    """A number of this process's in bytes, such as ``VmHWM``, the peak of its memory; 0 where there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name)), 0)


@torch.inference_mode()
def _times(
    model: PreTrainedModel, data: Encoded, alone: Rows, together: Rows, device: Device, threads: int
) -> dict[str, Any]:
    with threads_of_torch(threads):
        model.to(device.device)
        single = [data.batch(alone[[place]], device.device) for place in range(len(alone))]
        starts = range(0, len(together), BATCH)
        batches = [data.batch(together[start : start + BATCH], device.device) for start in starts]
        for batch in (*single[:3], batches[0]):
            _seconds(model, batch, device)
        alone_seconds = _each(model, single, device, FEWEST)
        seconds = _each(model, batches, device, 1)
        answered = sum(len(batch.input_ids) for batch in batches[: len(seconds)])
    return device.describe() | {
        "threads": threads,
        "milliseconds": 1000 * float(np.median(alone_seconds)),
        "milliseconds_95": 1000 * float(np.quantile(alone_seconds, 0.95)),
        "examples_per_second": answered / sum(seconds),
    }


def _each(model: PreTrainedModel, batches: Sequence[Batch], device: Device, fewest: int) -> list[float]:
    """Seconds of the batches, of fewer where they take long."""
    found: list[float] = []
    for batch in batches:
        if len(found) >= fewest and sum(found) > LONGEST:
            break
        found.append(_seconds(model, batch, device))
    return found


def _seconds(model: PreTrainedModel, batch: Batch, device: Device) -> float:
    start = time.perf_counter()
    with device.autocast():
        model(batch.input_ids, batch.attention_mask, batch.token_type_ids).logits.float().cpu()
    return time.perf_counter() - start


@torch.inference_mode()
def _flops(model: PreTrainedModel, data: Encoded, rows: Rows) -> float:
    """Mean over examples; of matrix products, which is nearly all."""
    counter = FlopCounterMode(display=False)
    with counter:
        for place in range(len(rows)):
            batch = data.batch(rows[[place]], torch.device("cpu"))
            model(batch.input_ids, batch.attention_mask, batch.token_type_ids)
    return counter.get_total_flops() / len(rows)
