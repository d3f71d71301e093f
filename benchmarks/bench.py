"""Benchmarks of distillation from cached signals (``make bench``): time, size and precision, as ratios within a run.

Needs neither Snakemake nor downloads. Results are kept by device in ``results.json``.
"""

import importlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import torch
import transformers
import typer
from workspace import BASE, MINILM, Workspace, pair_stages, write_pairs

from codekd.data.batches import Encoded, load_encoded, load_units, shards, training_batches
from codekd.deploy.export import convert
from codekd.memory import memory
from codekd.methods import ckd
from codekd.models.device import Device, choose_device
from codekd.models.encoder import EncoderForSequenceClassification
from codekd.models.head import ClassifierOutput
from codekd.models.inference import outputs
from codekd.progress import track
from codekd.signals import finetuned, logits, pooled, relations, structure
from codekd.signals.format import read_signal
from codekd.study import components
from codekd.study.job import Job
from codekd.study.resolve import presets
from codekd.study.stage import quick_imports
from codekd.study.training import Training
from codekd.training.step import Stepper
from codekd.training.student import prepare

LOADED = ("ft", "kd", "pkd", "ckd", "ast")
STUDENTS = ("roberta-1.5m", "bigru-1.5m", "roberta-7m", "bigru-7m")
EXAMPLES, FEW, FEWEST = 10_000, 1_000, 200
SIGNALS = (logits.Config(), pooled.Config(), relations.Config(layers=2), structure.Config(layers=2))
"""All signals that a student of two layers may read."""

SERVED = ("roberta-0.6m", "roberta-1.5m", "roberta-7m", "roberta-30m", "bigru-1.5m", "bigru-7m", "bigru-30m")
TEACHER_EVERY = 4
RESULTS = Path(__file__).with_name("results.json")
Row = dict[str, Any]


def main(
    work: Annotated[Path | None, typer.Option(help="Folder to work in; a temporary one by default.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Sections of the results; all by default.")] = None,
    rounds: Annotated[int, typer.Option(help="Measurements of a step, of which the median counts.")] = 12,
    results: Annotated[Path, typer.Option(help="JSON file that this device's results are put into.")] = RESULTS,
) -> None:
    """Run benchmarks, print their results and put them into a JSON file."""
    sections: dict[str, Callable[[Path], list[Row]]] = {
        "step_ratio": lambda folder: steps(folder, rounds),
        "relations": relations_against_states,
        "capture": capture_memory,
        "loading": loading,
        "serving": serving,
        "pairs": pairs,
        "report": report_of_a_large_study,
    }
    torch.set_num_threads(1)
    kept = json.loads(results.read_text()) if results.exists() else {}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as temporary:
        folder = work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name, section in sections.items():
            if only and name not in only:
                continue
            rows = [{"device": device, **row} for row in section(folder)]
            print(f"\n{name}")
            for row in rows:
                print("  " + ", ".join(f"{key} {value}" for key, value in row.items() if key != "device"))
            kept[name] = [row for row in kept.get(name, []) if row["device"] != device] + rows
            versions = {"torch": torch.__version__, "transformers": transformers.__version__}
            kept["versions"] = kept.get("versions", {}) | {device: versions}
            results.write_text(json.dumps(kept, indent=1) + "\n")


def steps(folder: Path, rounds: int) -> list[Row]:
    """CPU time of a training step, batch included, relative to ``ft`` of the same student on the same batches.

    Methods take turns. On a GPU it is wall-clock time. ``cached`` reads signals from the cache; ``online`` runs the
    teacher in the step, as distillation usually does.

    Args:
        folder: folder to work in.
        rounds: measurements of each step, of which the median counts.
    """
    space = Workspace(folder, FEW)
    found: list[Row] = []
    for student in STUDENTS:
        methods = {name: _Steps(space, student, name) for name in presets()["methods"]}
        own: dict[str, list[float]] = {name: [] for name in methods}
        online: dict[str, list[float]] = {name: [] for name in methods}
        # The first round warms up.
        for count in track(range(rounds + 1), description=student, unit="round"):
            for name, method in methods.items():
                # An untimed step before fills the processor's caches as a run of this method would.
                method.step(count)
                own[name].append(_cpu_seconds(method.step, count))
                if name != "ft" and count % TEACHER_EVERY == 0:
                    online[name].append((own[name][-1] + _cpu_seconds(method.teach, count)) / own["ft"][-1])
        ft = own.pop("ft")[1:]
        found.append({"student": student, "method": "ft", "teacher": "none", "ratio": 1.0, "seconds": median(ft)})
        for name, times in own.items():
            cached = [one / base for one, base in zip(times[1:], ft, strict=True)]
            for teacher, ratios in (("cached", cached), ("online", online[name][1:])):
                ratio = round(median(ratios), 3)
                found.append({"student": student, "method": name, "teacher": teacher, "ratio": ratio})
    return found


class _Steps:
    """Training of a student with a method, one step at a time."""

    def __init__(self, space: Workspace, student: str, method: str) -> None:
        job, self.requests = space.student(student, method)
        model, objective, self.train = prepare(job)
        settings = Training.model_validate(job.spec["training"])
        self.device = choose_device(model)
        self.stepper = Stepper(model, objective, settings, self.device, job.name)
        self.stepper.trained.train()
        self.space = space
        # Methods are compared on the same labelled examples in the same order.
        lengths = self.train.lengths[: sum(shards(job.parents["encoded"], "train"))]
        self.batches = training_batches(lengths, 32, settings.batch_tokens, np.random.default_rng(0))

    @cached_property
    def teacher(self) -> finetuned.Teacher:
        """Teacher in the precision of a training step, loaded when first used: with the cache a student needs none."""
        teacher = finetuned.Teacher.load([self.space.job("teacher", {}, self.space.teacher(MINILM))])
        return replace(teacher, device=choose_device(teacher.model))

    @cached_property
    def shown(self) -> Encoded:
        """Labelled examples as the teacher reads them."""
        data = load_encoded(self.teacher.encoded, ["train"])
        if unit := next((one.unit for one in self.requests if one.unit), None):
            units = load_units(unit, data, self.teacher.encoded, self.teacher.syntax, ["train"])
            data = replace(data, units=units)
        return data

    def step(self, count: int) -> None:
        """Take a training step on batch ``count``, modulo their number."""
        self.stepper.step(self.train, self.batches[count % len(self.batches)])

    def teach(self, count: int) -> None:
        """Run the teacher on batch ``count``, modulo their number, and extract the signals that the method reads."""
        rows = self.batches[count % len(self.batches)]
        states = any(one.hidden_states for one in self.requests)
        for _, batch, output in outputs(self.teacher.model, self.shown, self.teacher.device, states, rows):
            for one in self.requests:
                one.extract(output, batch)


def relations_against_states(folder: Path) -> list[Row]:
    """Bytes of relations against those of the token states that they replace, and the error of the loss in float16."""
    space = Workspace(folder, FEWEST)
    found: list[Row] = []
    for shape in (MINILM, BASE):
        width, layers = shape["hidden_size"], shape["num_hidden_layers"] // 3
        parents = space.teacher(shape)
        tokens = load_encoded(parents["encoded"], ["train"]).lengths.sum()
        states = int(tokens) * width * layers * 2
        signals = [
            relations.Config(layers=layers),
            relations.Config(layers=layers, units="token"),
            structure.Config(layers=layers),
        ]
        folders = space.signals(signals, shape)
        for signal in signals:
            path = folders[signal.name]
            size = sum(
                pq.read_metadata(file).row_group(0).column(1).total_compressed_size for file in path.glob("train-*")
            )
            row = {"signal": signal.name, "width": width, "layers": layers, "bytes_per_example": round(size / FEWEST)}
            row |= {"times_smaller": round(states / size, 1)}
            if signal.kind == "relations":
                row["loss_difference"] = _loss_difference(space, signal, path, parents)
            found.append(row)
    return found


def _loss_difference(space: Workspace, signal: relations.Config, path: Path, parents: dict[str, Path]) -> float:
    """Relative difference of the ``ckd`` loss with cached relations from that with relations in the states' precision.

    The student's states are random, of the same tokens, on one batch.
    """
    on_cpu = {"device": Device(torch.device("cpu"), torch.float32)}
    teacher = replace(finetuned.Teacher.load([space.job("relations", {}, parents)]), **on_cpu)
    teacher.model.cpu()
    data = load_encoded(teacher.encoded, ["train"], shard=0)
    units = load_units(signal.units, data, teacher.encoded, teacher.syntax, ["train"], shard=0)
    cached = read_signal(path, ["train"], signal.kind, data.ids)
    data = replace(data, units=units, signals={signal.kind: cached})
    [(_, batch, output)] = outputs(teacher.model, data, teacher.device, True, np.arange(32))
    generator = torch.Generator().manual_seed(0)
    hidden = [torch.randn(*batch.input_ids.shape, 64, generator=generator) for _ in range(signal.layers + 1)]
    student = ClassifierOutput(logits=output.logits, hidden_states=tuple(hidden))
    method = ckd.Config(units=signal.units, window=signal.window)
    live = replace(batch, teacher={signal.kind: signal.relations(output, batch)})
    first, second = (sum(method.relation_losses(student, one)).item() for one in (batch, live))
    return abs(first - second) / second


def capture_memory(folder: Path) -> list[Row]:
    """Speed of a capture of all signals, the teacher's share of its time, and peak memory, with 1x and 10x the data."""
    return [_in_new_process(_capture, folder, examples) for examples in (FEW, EXAMPLES)]


def _capture(folder: Path, examples: int) -> Row:
    space = Workspace(folder, examples)
    space.teacher(MINILM)
    folders = space.signal_folders(SIGNALS).values()
    for one in folders:
        shutil.rmtree(one, ignore_errors=True)
    forward, inside = EncoderForSequenceClassification.forward, [0.0]

    def timed(self: Any, *inputs: Any, **named: Any) -> ClassifierOutput:
        result: list[ClassifierOutput] = []
        inside[0] += _seconds(lambda: result.append(forward(self, *inputs, **named)))
        return result[0]

    EncoderForSequenceClassification.forward = timed  # type: ignore[method-assign]
    seconds = _seconds(space.signals, SIGNALS)
    size = sum(file.stat().st_size for one in folders for file in one.glob("*.parquet"))
    return {
        "examples": examples,
        "signals": ", ".join(one.name for one in SIGNALS),
        "examples_per_second": round(examples / seconds, 1),
        "forward_share": round(inside[0] / seconds, 3),
        "peak_megabytes": _peak_megabytes(),
        "cache_megabytes": round(size / 1e6),
    }


def loading(folder: Path) -> list[Row]:
    """Seconds and memory that a student on 10,000 examples takes until its first step is done, for some methods."""
    Workspace(folder, EXAMPLES).signals(SIGNALS)
    for method in LOADED:
        Workspace(folder, EXAMPLES).student("bigru-1.5m", method)
    return [_in_new_process(_load, folder, method) for method in LOADED]


def _load(folder: Path, method: str) -> Row:
    before = _peak_megabytes()
    steps: list[_Steps] = []
    seconds = _seconds(lambda: steps.append(_Steps(Workspace(folder, EXAMPLES), "bigru-1.5m", method)))
    seconds += _seconds(steps[0].step, 0)
    added = _peak_megabytes() - before
    return {"student": "bigru-1.5m", "method": method, "examples": EXAMPLES, "seconds": round(seconds, 2)} | {
        "megabytes": added
    }


def serving(folder: Path) -> list[Row]:
    """Milliseconds for one example on one thread in PyTorch, ONNX and eight bits, and the largest error of logits."""
    space = Workspace(folder, FEWEST)
    teacher = space.teacher(MINILM)
    models = {"minilm": (EncoderForSequenceClassification.from_pretrained(teacher["teacher"]), teacher["encoded"])}
    for student in SERVED:
        job, _ = space.student(student, "ft")
        models[student] = prepare(job)[0], job.parents["encoded"]
    found: list[Row] = []
    for name, (model, encoded) in models.items():
        with tempfile.TemporaryDirectory() as out:
            measured = convert(model.eval(), load_encoded(encoded, ["valid"]), Path(out))
        times = measured.pop("milliseconds")
        row = {"model": name, **times} | {f"{key}_ratio": round(times[key] / times["pytorch"], 3) for key in times}
        found.append(row | {"largest_difference": measured["largest_difference"]})
        print(f"  serving: {name}", flush=True)
    return found


def pairs(folder: Path) -> list[Row]:
    """Seconds and peak memory of each stage that prepares as many pairs of functions as BigCloneBench has.

    The counts are real and the functions are others: 9,126 functions in 901,028 pairs for training, and 415,416 for
    each of the other splits.
    """
    source = folder / "bigclonebench"
    if not source.exists():
        write_pairs(source)
    task = components.parse("tasks", {"kind": "bigclonebench", "source": {"folder": str(source)}})
    found: list[Row] = []
    for number, (name, entry, spec, parents) in enumerate(pair_stages(folder / "pairs", source, task)):
        row = _in_new_process(_stage, entry, folder / "pairs" / name, spec, parents)
        found.append({"stage": name, **row})
        print(f"  pairs: {number + 1}, {name}, {row['seconds']} s", flush=True)
    return found


def _stage(entry: str, folder: Path, spec: Row, parents: dict[str, Path]) -> Row:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    job = Job("benchmark", (folder.name,), spec, parents, folder.parent / "scratch")
    seconds = _seconds(importlib.import_module(entry).run, job, folder)
    size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    return {"seconds": round(seconds), "peak_megabytes": _peak_megabytes(), "megabytes": round(size / 1e6)}


def report_of_a_large_study(folder: Path) -> list[Row]:
    """Seconds to write the report of the paper's grid on made-up predictions, its megabytes, and seconds to open it."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    return [_in_new_process(_report, folder)]


def _report(folder: Path) -> Row:
    from synthetic_study import write_study
    from test_browser import BROWSER, DRIVER, new_browser, open_page

    with quick_imports():  # as the stage does: statsmodels looks for garbage in every correction
        from codekd.analysis import report

    sizes = {"124m": 124e6, "30m": 30e6, "7m": 7e6, "1.5m": 1.5e6, "0.6m": 0.6e6}
    students = {f"roberta-{name}": int(size) for name, size in sizes.items()}
    students |= {f"bigru-{name}": int(sizes[name]) for name in ("30m", "7m", "1.5m")}
    teachers = ("unixcoder", "modernbert")
    results = folder / "large"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir()
    job = write_study(
        results,
        teachers=teachers,
        students=students,
        methods={"ft": 0.0, "kd": 0.02, "dist": 0.025, "pkd": 0.03, "ckd": 0.04},
        seeds=(1, 2, 3, 4, 5),
        examples=2_732,
        milliseconds={name: 2 + size**0.5 / 200 for name, size in students.items()} | dict.fromkeys(teachers, 100.0),
    )
    out = results / "report" / "large-0123456789ab"
    out.mkdir(parents=True)
    seconds = _seconds(report.run, job, out)
    page = out / "index.html"
    row = {"trainings": len(job.spec["cells"]), "seconds": round(seconds, 1)}
    row["megabytes"] = round(page.stat().st_size / 1e6, 2)
    if BROWSER and DRIVER:
        browser = new_browser()
        row["seconds_to_open"] = round(_seconds(open_page, browser, page), 2)
        browser.quit()
    return row


def _in_new_process(function: Callable[..., Row], *arguments: Any) -> Row:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _peak_megabytes() -> int:
    # Not ru_maxrss, which a process inherits from the one that started it.
    return round(memory("VmHWM") / 1024**2)


def _seconds(work: Callable[..., Any], *arguments: Any) -> float:
    _wait()
    start = time.perf_counter()
    work(*arguments)
    _wait()
    return time.perf_counter() - start


def _cpu_seconds(work: Callable[..., Any], *arguments: Any) -> float:
    if torch.cuda.is_available():
        return _seconds(work, *arguments)
    start = time.process_time()
    work(*arguments)
    return time.process_time() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    typer.run(main)
