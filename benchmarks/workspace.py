"""Workspace of the benchmarks: functions of installed packages, a teacher of MiniLM's shape, production stages."""

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
import transformers
from transformers import BertConfig

from codekd.data.batches import load_encoded
from codekd.data.functions import functions_of
from codekd.data.splits import SPLITS
from codekd.models.encoder import EncoderConfig, EncoderForSequenceClassification
from codekd.signals.base import Signal
from codekd.signals.capture import run as run_capture
from codekd.study import components
from codekd.study.job import Job, file_roles
from codekd.study.resolve import presets

CLASSES = 16
LENGTH = 128
POOLING = "mean"
Sizes = Mapping[str, int]

MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}

PAIRED_FUNCTIONS = 9_126
PAIRS = {"train": 901_028, "valid": 415_416, "test": 415_416}


class Workspace:
    """Folder with the outputs of stages, each made once."""

    def __init__(self, folder: Path, examples: int) -> None:
        """Write ``examples`` functions as the train split of a task, and 64 as each of the others."""
        self.folder = folder
        self.examples = folder / f"examples-{examples}"
        if not self.examples.exists():
            _write_examples(self.examples, examples)

    def stage(self, entry: str, name: str, spec: Mapping[str, Any], parents: Mapping[str, Path]) -> Path:
        """Folder of a stage's output; the stage runs if the folder does not exist.

        Args:
            entry: module of the stage, with a function ``run``.
            name: name of the output.
            spec: values that the stage uses.
            parents: folders that it reads, by role.
        """
        folder = self.folder / f"{self.examples.name}-{name}"
        if not folder.exists():
            folder.mkdir()
            importlib.import_module(entry).run(self.job(name, spec, parents), folder)
        return folder

    def job(self, name: str, spec: Mapping[str, Any], parents: Mapping[str, Path]) -> Job:
        """Job that a stage is given."""
        return Job("benchmark", ("code", "teacher", name), spec, parents, self.folder / "scratch" / name)

    def encoded(self, vocabulary: int) -> Path:
        """Folder of the examples encoded in a BPE of some size."""
        bpe = {"size": vocabulary, "columns": {"code": ["code"]}}
        tokenizer = self.stage("codekd.data.bpe", f"bpe-{vocabulary}", bpe, {"examples/code": self.examples})
        classes = [str(label) for label in range(CLASSES)]
        spec = {"max_length": LENGTH, "prefix": [], "classes": classes, "columns": ["code"], "has_hole": False}
        parents = {"examples": self.examples, "tokenizer": tokenizer}
        return self.stage("codekd.data.encode", f"encoded-{vocabulary}", spec, parents)

    def syntax(self) -> Path:
        """Folder of the lexemes and syntax trees of the examples."""
        spec = {"columns": ["code"], "language": "python"}
        return self.stage("codekd.data.lexemes", "syntax", spec, {"examples": self.examples})

    def teacher(self, shape: Sizes) -> dict[str, Path]:
        """Folders of an untrained teacher and of what it reads, by role: the parents of a capture.

        Its weights are drawn ten times as wide as usual: otherwise its layers would be nearly the same.
        """
        encoded = self.encoded(8000)
        folder = self.folder / f"teacher-{shape['hidden_size']}"
        if not folder.exists():
            torch.manual_seed(1)
            vocabulary = load_encoded(encoded, ["valid"]).vocabulary
            bert = BertConfig(
                vocab_size=vocabulary.size, pad_token_id=vocabulary.pad_id, initializer_range=0.2, **shape
            )
            config = EncoderConfig(encoder=bert, pooling=POOLING, num_labels=CLASSES)
            EncoderForSequenceClassification(config).save_pretrained(folder)
        return {"teacher": folder, "encoded": encoded, "syntax": self.syntax()}

    def signals(self, signals: Sequence[Signal], shape: Sizes = MINILM) -> dict[str, Path]:
        """Folders of captured signals by name; missing ones are captured in one pass."""
        folders = self.signal_folders(signals, shape)
        missing = [one for one in signals if not folders[one.name].exists()]
        if missing:
            parents = self.teacher(shape)
            specs = {one.name: {"signal": one.model_dump(), "by": "finetuned"} for one in missing}
            jobs = [self.job(name, spec, parents) for name, spec in specs.items()]
            for one in missing:
                folders[one.name].mkdir()
            run_capture(jobs, [folders[one.name] for one in missing])
        return folders

    def signal_folders(self, signals: Sequence[Signal], shape: Sizes = MINILM) -> dict[str, Path]:
        """Folders of signals by name, whether they exist or not."""
        return {one.name: self.folder / f"{self.examples.name}-{shape['hidden_size']}-{one.name}" for one in signals}

    def student(self, name: str, method: str) -> tuple[Job, Sequence[Signal]]:
        """Job of a student, and the signals that it reads, which are captured if missing."""
        definition = dict(presets()["students"][name])
        training = {"batch_size": 32, **definition.pop("training")}
        architecture = components.parse("students", definition)
        loss = components.parse("methods", presets()["methods"][method])
        requests = loss.requests(architecture.layers)
        folders = self.signals(requests)
        spec = {
            "classes": CLASSES,
            "metric": "accuracy",
            "pooling": architecture.pooling_for("code"),
            "training": training,
            "architecture": architecture.model_dump(mode="json"),
            "method": loss.model_dump(mode="json"),
            "seed": 1,
        }
        parents = {"encoded": self.encoded(architecture.vocabulary_size), "syntax": self.syntax()}
        parents |= {f"signals/{one.kind}": folders[one.name] for one in requests}
        parents["teacher"] = self.teacher(MINILM)["teacher"]
        return self.job(f"{name}-{method}", spec, parents), requests


def _write_examples(folder: Path, examples: int) -> None:
    code = [code for code, _ in zip(_functions(), range(examples), strict=False)]
    assert len(code) == examples, f"the installed packages have only {len(code)} functions"
    folder.mkdir(parents=True)
    for split in SPLITS:
        count = examples if split == "train" else 64
        pl.DataFrame({"code": code[:count]}).with_columns(
            id=pl.int_range(count).cast(pl.String) + split,
            label=pl.lit(-1, pl.Int32) if split == "unlabeled" else pl.int_range(count).cast(pl.Int32) % CLASSES,
            group=pl.lit("package"),
        ).write_parquet(folder / f"{split}.parquet")


def _functions() -> Iterator[str]:
    """Functions of the installed torch and transformers, the same on every machine with the same versions."""
    for package in (torch, transformers):
        for path in sorted(Path(package.__file__).parent.rglob("*.py")):
            yield from (function.code for function in functions_of(path.read_text(errors="replace")))


def write_pairs(folder: Path) -> None:
    """Write files like BigCloneBench's, with its numbers of functions and pairs; which pairs are clones is random."""
    code = [code for code, _ in zip(_functions(), range(PAIRED_FUNCTIONS), strict=False)]
    folder.mkdir(parents=True)
    with (folder / "data.jsonl").open("w") as stream:
        stream.writelines(json.dumps({"func": text, "idx": str(number)}) + "\n" for number, text in enumerate(code))
    generator = np.random.default_rng(0)
    for part, count in PAIRS.items():
        chosen = generator.choice(len(code) ** 2, size=count, replace=False)
        labels = generator.integers(0, 2, size=count)
        lines = zip(chosen // len(code), chosen % len(code), labels, strict=True)
        (folder / f"{part}.txt").write_text("".join(f"{first}\t{second}\t{label}\n" for first, second, label in lines))


def pair_stages(folder: Path, source: Path, task: Any) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Path]]]:
    """Name, module, spec and parents of every stage that a task on pairs goes through before a model sees it."""
    columns, classes = list(task.columns), list(task.classes)
    parents = file_roles(task.local_files(source.parent))
    yield "examples", "codekd.data.examples", {"task": task.spec(), "split": {}}, parents
    examples = {"examples": folder / "examples"}
    bpe = {"size": 5000, "columns": {"pairs": columns}}
    yield "tokenizer", "codekd.data.bpe", bpe, {"examples/pairs": folder / "examples"}
    encoded = {"max_length": 512, "prefix": [], "classes": classes, "columns": columns, "has_hole": False}
    yield "encoded", "codekd.data.encode", encoded, examples | {"tokenizer": folder / "tokenizer"}
    yield "syntax", "codekd.data.lexemes", {"columns": columns, "language": task.language}, examples
    floor = {"metric": task.metric, "classes": classes, "columns": columns, "has_hole": False}
    yield "floor", "codekd.analysis.floors", floor, examples
