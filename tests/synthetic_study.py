"""Folders of a finished study with made-up predictions: what the report reads, in the stages' format."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from codekd.analysis import report, style
from codekd.analysis.metrics import scores
from codekd.study.job import Job

TASKS = {
    "exception": {"kind": "exception", "metric": "accuracy", "classes": [f"Error{number}" for number in range(16)]},
    "defect": {"kind": "defect", "metric": "accuracy", "classes": ["clean", "defect"]},
    "clone": {"kind": "clone", "metric": "f1", "classes": ["different", "clone"]},
}
STUDENTS = {"roberta-1.5m": 1_410_000, "bigru-1.5m": 1_530_000}
METHODS = {"ft": 0.0, "kd": 0.03, "ckd": 0.045}  # what a method adds to the share of right answers
TYPES = ("VST3", "ST3", "MT3", "WT3/T4")


def write_study(
    root: Path,
    tasks: Mapping[str, Mapping[str, Any]] = TASKS,
    teachers: Sequence[str] = ("minilm",),
    students: Mapping[str, int] = STUDENTS,
    methods: Mapping[str, float] = METHODS,
    seeds: Sequence[int] = (1, 2, 3),
    examples: int = 400,
    floors: bool = True,
    teacher_predictions: bool = True,
    teacher_size: int = 22_700_000,
    milliseconds: Mapping[str, float] | None = None,
    busy: bool = False,
    in_onnx: bool = True,
    reuse_head: Sequence[str] = (),
    packages: int = 13,
    taught: bool = False,
    controls: Mapping[str, bool] | None = None,
) -> Job:
    """Write a study's folders under ``root`` and return the job of its report.

    ``milliseconds`` are those of every model in PyTorch; in ONNX it takes half of that, in eight bits a quarter, and a
    student with its teacher's head twice as much. Its file has as many megabytes. ``controls`` says of methods that are
    some whether they have a teacher.
    """
    controls = controls or {}
    alone = {"ft", *(name for name, has_teacher in controls.items() if not has_teacher)}
    parents: dict[str, Path] = {}
    cells: list[list[Any]] = []
    for task, spec in tasks.items():
        writer = _Writer(root, task, spec, examples, packages)
        parents[f"examples/{task}"] = writer.examples()
        heads = sorted({method in reuse_head for method in methods}) if milliseconds else []
        for teacher, student, head in product(teachers, students, heads):
            key = (task, teacher, student, *(["reused-head"] if head else []))
            parents["/".join(("inference", *key))] = writer.inference(key, milliseconds, busy, in_onnx)
        if floors:
            parents[f"floors/{task}"] = writer.run("floors", [task], 0.55, metrics={})
        for number, teacher in enumerate(teachers):
            numbers = {"parameters": teacher_size}
            folder = writer.run("teachers", [task, teacher], 0.72 + 0.04 * number, metrics=numbers)
            if not teacher_predictions:
                (folder / "predictions.parquet").unlink()
            parents[f"teachers/{task}/{teacher}"] = folder
            if taught:
                parents[f"floors/{task}/{teacher}"] = writer.run(
                    "floors", [task, teacher], 0.6 + 0.05 * number, {"parameters": 4_000 + number}
                )
        for method, gain in methods.items():
            for teacher in ["none"] if method in alone else teachers:
                for student, size in students.items():
                    for seed in seeds:
                        key = [task, teacher, student, method, seed]
                        right = 0.5 + 0.02 * np.log10(size / 1e5) + gain
                        numbers = _training_numbers(size, method, seed)
                        parents["/".join(map(str, ["students", *key]))] = writer.run(
                            "students", [*map(str, key[:-1]), f"seed{seed}"], right, numbers
                        )
                        cells.append(key)
    spec = {
        "study": "made-up",
        "tasks": {name: dict(task) for name, task in tasks.items()},
        "students": {name: {"recurrent": name.startswith("bigru")} for name in students},
        "reuse_head": list(reuse_head),
        "teachers": [[task, teacher] for task in tasks for teacher in teachers],
        "cells": cells,
    }
    if controls:
        spec["controls"] = list(controls)
    return Job("report", ("made-up",), spec, parents, root / ".scratch")


def make(job: Job, root: Path, drawn: bool = False) -> Path:
    """The folder of the report; its figures, which take nine tenths of the time, are blank if not ``drawn``."""
    folder = root / "report" / "made-up-0123456789ab"
    folder.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        if not drawn:
            patch.setattr(style, "save", lambda draw, stem: stem.with_suffix(".svg").write_text("<svg></svg>"))
        report.run(job, folder)
    return folder


def _training_numbers(size: int, method: str, seed: int) -> dict[str, Any]:
    seen = 18_000 if method == "ft" else 54_000
    per_second = 140.0 * (1e6 / size) ** 0.5 / (1.02 if method != "ckd" else 1.2)
    return {
        "parameters": size,
        "best_epoch": 3 + seed % 2,
        "epochs": 6,
        "train_seconds": 1.5 * seen / per_second,  # of the clock, on a busy machine
        "train_cpu_seconds": seen / per_second,
        "examples_per_second": per_second,
        "examples_seen": seen,
    }


class _Writer:
    """Writes the folders of one task; the draws depend on nothing but the order of the calls."""

    def __init__(self, root: Path, task: str, spec: Mapping[str, Any], examples: int, packages: int) -> None:
        self._root, self._task, self._metric = root, task, spec["metric"]
        self._classes = len(spec["classes"])
        self._generator, self._confidence = (np.random.default_rng(seed) for seed in (len(task), -1 + 2**16))
        self._labels = self._generator.integers(self._classes, size=examples).astype(np.int32)
        self._difficulty = self._generator.random(examples)
        self._groups = [f"package{min(number % packages, number % (packages + 4))}" for number in range(examples)]
        self._ids = [f"{task}-{number}" for number in range(examples)]

    def examples(self) -> Path:
        code = ["x" * (20 + 7 * number % 400) for number in range(len(self._ids))]
        frame = pl.DataFrame({"id": self._ids[::-1], "code": code, "label": self._labels[::-1]})
        frame = frame.with_columns(group=pl.Series(self._groups[::-1]))
        if self._task == "clone":
            drawn = pl.Series(self._generator.choice(TYPES, size=len(self._ids)).tolist())
            frame = frame.with_columns(type=pl.when(pl.col("label") == 1).then(drawn))
        folder = self._folder("examples", [self._task])
        frame.write_parquet(folder / "test.parquet")
        return folder

    def run(self, stage: str, coordinates: Sequence[str], right: float, metrics: Mapping[str, Any]) -> Path:
        folder = self._folder(stage, coordinates)
        noise = self._generator.normal(0, 0.15, size=len(self._ids))
        wrong = (self._labels + self._generator.integers(1, self._classes, len(self._ids))) % self._classes
        predictions = np.where(self._difficulty + noise < right, self._labels, wrong).astype(np.int32)
        columns = {"id": self._ids, "label": self._labels, "prediction": predictions}
        if stage != "floors":
            logits = self._confidence.normal(0, 0.5, size=(len(self._ids), self._classes))
            logits[np.arange(len(logits)), predictions] = (
                logits.max(axis=1) + self._confidence.random(len(logits)) + 0.1
            )
            columns["logits"] = logits.astype(np.float32)
        pl.DataFrame(columns).write_parquet(folder / "predictions.parquet")
        reached = scores(self._labels, predictions, self._classes)
        stated = {"metric": self._metric, **metrics, "scores": {"valid": reached, "test": reached}}
        (folder / "metrics.json").write_text(json.dumps(stated))
        return folder

    def inference(self, key: Sequence[str], milliseconds: Mapping[str, float], busy: bool, in_onnx: bool) -> Path:
        folder = self._folder("inference", key)
        _, teacher, student, *head = key
        ways = [("pytorch", "float32", 1.0), ("onnx", "float32", 0.5), ("onnx", "int8", 0.25)]
        models = {"teacher": milliseconds[teacher], "student": milliseconds[student] * (2 if head else 1)}
        times = [
            {"model": model, "runtime": runtime, "precision": precision, "device": "cpu", "batch": batch, "turns": 48}
            | {"bytes": int(1e6 * own), "milliseconds": own * factor, "milliseconds_low": 0.9 * own * factor}
            | {"milliseconds_high": 1.2 * own * factor, "tokenizer_milliseconds": 0.1 * own * factor}
            | {"model_milliseconds": 0.9 * own * factor, "cpu_milliseconds": own * factor, "busy": busy}
            | {"teacher_milliseconds": models["teacher"] * factor, "speed_up": models["teacher"] / own}
            for model, own in models.items()
            for runtime, precision, factor in (ways if in_onnx else ways[:1])
            for batch in (1, 32)
        ]
        about = {"parameters": 10, "flops": 2e6, "tokens": 60.0, "peak_bytes": 5_000_000}
        about["without_onnx"] = None if in_onnx else "onnx, onnxscript and onnxruntime are not installed"
        found = {"models": dict.fromkeys(models, about), "times": times}
        (folder / "inference.json").write_text(json.dumps(found))
        return folder

    def _folder(self, stage: str, coordinates: Sequence[str]) -> Path:
        identity = hashlib.sha256("/".join((stage, *coordinates)).encode()).hexdigest()[:12]
        folder = self._root.joinpath(stage, *coordinates[:-1], f"{coordinates[-1]}-{identity}")
        folder.mkdir(parents=True)
        host, summary = {"processor": "One", "units": ["avx2"]}, {"device": "cpu", "precision": "float32"}
        made = {"identity": identity, "host": host, "summary": summary, "versions": {"torch": "2.13.0"}}
        (folder / "manifest.json").write_text(json.dumps(made))
        return folder
