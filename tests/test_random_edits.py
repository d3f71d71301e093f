"""Random edits of a config: a node's identity changes when, and only when, something changes that it depends on.

What a node depends on is written down here once more, plainly and in full, without digests.
"""

import copy
import json
import re
from itertools import chain, product
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from codekd.errors import CodekdError
from codekd.study.config import Study
from codekd.study.graph import Graph
from codekd.study.resolve import load_study
from codekd.study.search import candidates

ROOT = Path(__file__).parents[1]
PATH = ROOT / "config" / "config.yaml"
BASE = yaml.safe_load(PATH.read_text()) | {
    "grid": {
        "tasks": ["defect", "clone"],
        "teachers": ["minilm", "minilm-code"],
        "students": ["bigru-1.5m", "roberta-1.5m"],
        "methods": ["ft", "kd", "dist", "ckd"],
        "seeds": [1],
    },
    "training": {},
    "teachers": {"both": {"kind": "ensemble", "members": ["minilm", "floor"]}},
}
ENSEMBLE = {
    "tasks": ["defect"],
    "teachers": ["minilm", "both"],
    "students": ["bigru-1.5m"],
    "methods": ["ft", "kd", "smooth", "ft-long", "kd-shuffled"],
    "seeds": [1],
}
Record = dict[str, Any]
Edit = tuple[tuple[str, ...], Any]


def subset(values: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True)


def place(*keys: str, values: list[Any]) -> list[Edit]:
    return [(keys, value) for value in values]


def listed(*keys: str, values: list[Any]) -> st.SearchStrategy[Edit]:
    return st.tuples(st.just(keys), subset(values))


def pinned(corpus: str, packages: list[list[str]]) -> list[Edit]:
    return place("corpora", corpus, values=[{"pins": f"corpus/{corpus}.txt", "packages": one} for one in packages])


PLACES = [
    place("grid", values=[ENSEMBLE, ENSEMBLE | {"methods": ["ft-long", "kd"]}]),
    place("taught_floor", values=[True, False]),
    place(
        "teachers",
        "both",
        values=[
            {"kind": "ensemble", "members": ["minilm", "floor"], "weights": "validation"},
            {"kind": "ensemble", "members": ["minilm", "floor"], "weights": [2.0, 1.0]},
            {"kind": "ensemble", "members": ["floor", "minilm-code"]},
        ],
    ),
    place("methods", "smooth", values=[{}, {"smoothing": 0.2}]),
    place("name", values=["embedded", "other"]),
    place("inference", values=[True, False]),
    place("training", "epochs", values=[1, 2, 3]),
    place("training", "learning_rate", values=[1e-3, "0.001", 5e-4]),
    place("students", "bigru-1.5m", values=[{}, {"layers": 3}, {"max_length": 64}, {"vocabulary_size": 1000}]),
    place("students", "roberta-1.5m", values=[{}, {"heads": 2}, {"pooling": "mean"}, {"training": {"warmup": 0.2}}]),
    place("students", "bigru-1.5m", "methods", values=[["ft", "kd"], ["ckd"], ["ckd", "ft", "kd", "dist"]]),
    place("students", "bigru-1.5m", "unlabeled", values=[0, 100, 400]),
    place("students", "bigru-1.5m", "by_task", values=[{}, {"clone": {"epochs": 4}}, {"defect": {"learning_rate": 1}}]),
    place("teachers", "minilm", "by_task", values=[{}, {"clone": {"epochs": 3}}]),
    place(
        "teachers",
        "minilm",
        values=[
            {},
            {"dropout": 0.1},
            {"pooling": "first"},
            {"training": {"epochs": 2}},
            {"max_length": 100},
            {"seed": 2},
        ],
    ),
    place("teachers", "minilm-code", values=[{}, {"adaptation": {"functions": 10}}, {"adaptation": {"seed": 2}}]),
    place("methods", "kd", values=[{}, {"temperature": 2}, {"temperature": 2.0}, {"alpha": 0.5}]),
    place("methods", "dist", values=[{}, {"gamma": 2.0}, {"transfer": "labelled"}]),
    place("methods", "ckd", values=[{}, {"window": 5}, {"units": "token"}, {"beta": 2.0}]),
    place("methods", "pkd", values=[{}, {"beta": 2.0}]),
    place("tasks", "defect", values=[{}, {"examples": {"train": 50}}, {"metric": "f1"}, {"max_length": 64}]),
    place("tasks", "defect", "made", values=[0, 9]),
    place("tasks", "defect", "examples", values=[{"unlabeled": 300}, {"unlabeled": 300, "unlabeled_states": 200}]),
    place("tasks", "clone", values=[{}, {"examples": {"train": 50}}, {"metric": "accuracy"}, {"min_lines": 3}]),
    place("vocabularies", values=[{"functions": ["defect", "clone"]}, {"a": ["defect"], "b": ["clone"]}, {}]),
    pinned("previous", [["celery", "docker"], ["docker", "celery"], ["celery", "docker", "kombu"]]),
    pinned("current", [["celery", "docker"], ["celery", "docker", "astroid"], ["celery", "docker", "gunicorn"]]),
    place(
        "search", values=[{}, {"training": {"learning_rate": [1e-3, 2e-3]}}, {"methods": {"kd": {"alpha": [0.1, 0.9]}}}]
    ),
]
EDIT = st.one_of(
    *map(st.sampled_from, PLACES),
    listed("grid", "tasks", values=["defect", "clone", "exception"]),
    listed("grid", "teachers", values=["minilm", "minilm-code"]),
    listed("grid", "students", values=["bigru-1.5m", "roberta-1.5m", "roberta-0.6m"]),
    listed("grid", "methods", values=["ft", "kd", "dist", "pkd", "ckd", "simkd", "ast"]),
    listed("grid", "seeds", values=[1, 2, 3]),
)


class Oracle:
    """The full record of what each node of a study depends on, from the resolved config alone."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def of(self, name: str) -> Record:
        """The record of a node by its stage and coordinates."""
        stage, *coordinates = name.split("/")
        return getattr(self, stage)(*coordinates)

    def corpus(self, name: str) -> Record:
        return {"pins": [pin.model_dump() for pin in self.study.corpora[name]]}

    def read(self, names: Any) -> Record:
        """Corpora, and where the split puts their packages."""
        packages = {pin.name for name in names for pin in self.study.corpora[name]}
        split = {package: part for package, part in self.study.split.items() if package in packages}
        return {"corpora": [self.corpus(name) for name in names], "split": split}

    def examples(self, task: str) -> Record:
        config = self.study.tasks[task]
        kept = config.model_dump(mode="json")
        del kept["metric"], kept["max_length"], kept["examples"]["unlabeled_states"]
        return kept | self.read(config.corpora)

    def floors(self, task: str, teacher: str | None = None) -> Record:
        taught = teacher and self.signals(task, teacher, "logits")
        return {"examples": self.examples(task), "metric": self.study.tasks[task].metric, "taught": taught}

    def tokenizers(self, group: str, size: str) -> Record:
        tasks = self.study.vocabularies.get(group, [group])
        return {"size": size, "examples": {task: self.examples(task) for task in tasks}}

    def syntax(self, task: str) -> Record:
        return {"examples": self.examples(task)}

    def pretrained(self, name: str) -> Record:
        config = self.study.teachers[name].component
        return {"wheel": config.wheel.model_dump(), "folder": config.folder, "shape": [config.layers, config.width]}

    def adapted(self, name: str) -> Record:
        adaptation = self.study.teachers[name].component.adaptation
        read = self.read(adaptation.corpora)
        read["split"] = {package: part for package, part in read["split"].items() if part != "test"}
        return {"pretrained": self.pretrained(name), "adaptation": adaptation.model_dump(mode="json"), **read}

    def encoded(self, task: str, sequences: str) -> Record:
        name, _, length = sequences.rpartition("-")
        groups = [group for group, tasks in self.study.vocabularies.items() if task in tasks] or [task]
        bpe = name.startswith("bpe")
        tokenizer = self.tokenizers(groups[0], name[3:]) if bpe else self.pretrained(name)
        return {"examples": self.examples(task), "length": length, "tokenizer": tokenizer}

    def window(self, task: str, longest: int) -> int:
        return min(longest, self.study.tasks[task].max_length or longest)

    def teachers(self, task: str, name: str) -> Record:
        trained, config = self.study.teachers[name], self.study.tasks[task]
        one = trained.component
        if one.parts:
            models = [self.floors(task) if part == "floor" else self.teachers(task, part) for part in one.parts]
            return {"signals": self.signals(task, name, "logits"), "models": models, "metric": config.metric}
        return {
            "encoded": self.encoded(task, f"{name}-{self.window(task, one.max_length)}"),
            "from": self.adapted(name) if one.adaptation else self.pretrained(name),
            "training": trained.training_on(task).model_dump(),
            "choice": [config.metric, one.pooling_for(config.shape), one.dropout, one.seed],
        }

    def signals(self, task: str, teacher: str, signal: str) -> Record:
        if teacher == "floor":
            return {"examples": self.examples(task), "signal": signal}
        one = self.study.teachers[teacher].component
        if one.parts:
            return {"parts": [[part, self.signals(task, part, signal)] for part in one.parts], "weights": one.weights}
        syntax = self.syntax(task) if "lexeme" in signal or "tree" in signal else None
        limit = None if signal == "logits" else self.study.tasks[task].examples.unlabeled_states
        return {"teacher": self.teachers(task, teacher), "signal": signal, "syntax": syntax, "limit": limit}

    verified = signals

    def candidates(self, student: str, method: str, task: str) -> list[tuple[Any, Any]]:
        """Training numbers and losses, each once, in the order of the values."""
        trained, search = self.study.students[student], self.study.search
        loss = self.study.methods[method].for_classes(len(self.study.tasks[task].classes))
        found = [(trained.training_on(task), loss)]
        for name, values in search.students.get(student, search.training).items():
            found = [(type(t).model_validate(t.model_dump() | {name: v}), m) for t, m in found for v in values]
        for name, values in search.methods.get(method, {}).items():
            found = [(t, type(m).model_validate(m.model_dump() | {name: v})) for t, m in found for v in values]
        return list(dict.fromkeys(found))

    def untrained(self, task: str, student: str) -> Record:
        one = self.study.students[student].component
        architecture = one.model_dump(mode="json")
        del architecture["pooling"]
        return {
            "encoded": self.encoded(task, f"bpe{one.vocabulary_size}-{self.window(task, one.max_length)}"),
            "pooling": one.pooling_for(self.study.tasks[task].shape),
            "architecture": architecture,
        }

    def cell(self, task: str, teacher: str, student: str, training: Any, loss: Any, seed: int) -> Record:
        signals = loss.requests(self.study.students[student].component.layers)
        limits = [self.study.students[student].unlabeled]
        if any(one.name != "logits" for one in signals):
            limits.append(self.study.tasks[task].examples.unlabeled_states)
        learns = loss.transfer == "all" or loss.repeats_labelled
        return self.untrained(task, student) | {
            "unlabeled": min((one for one in limits if one is not None), default=None) if learns else None,
            "metric": self.study.tasks[task].metric,
            "training": training.model_dump(),
            "method": loss.model_dump(mode="json"),
            "seed": seed,
            "signals": [[self.signals(task, teacher, one.name), one.model_dump()] for one in signals],
            "syntax": self.syntax(task) if any(one.unit in ("lexeme", "node") for one in signals) else None,
            "head": self.teachers(task, teacher) if loss.reuses_head else None,
        }

    def trials(self, task: str, teacher: str, student: str, method: str, trial: str) -> Record:
        """Names of trials say what was chosen; all candidates of the cell with that name are the same one."""
        seed = self.study.search.seed
        names = [one.name for one in candidates_of(self.study, student, method, task)]
        training, loss = self.candidates(student, method, task)[names.index(trial.removesuffix(f"-seed{seed}"))]
        return self.cell(task, teacher, student, training, loss, seed)

    def selected(self, task: str, teacher: str, student: str, method: str) -> Record:
        names = [one.name for one in candidates_of(self.study, student, method, task)]
        found = self.candidates(student, method, task)
        trials = [self.cell(task, teacher, student, *one, self.study.search.seed) for one in found]
        return {"trials": trials, "names": names, "metric": self.study.tasks[task].metric}

    def students(self, task: str, teacher: str, student: str, method: str, seed: str) -> Record:
        first, *others = self.candidates(student, method, task)
        record = self.cell(task, teacher, student, *first, int(seed.removeprefix("seed")))
        return record | {"selected": self.selected(task, teacher, student, method) if others else None}

    def inference(self, task: str, teacher: str, student: str, *head: str) -> Record:
        """Of a student weights do not matter."""
        alone = teacher == "none" or self.study.teachers[teacher].component.parts
        beside = None if alone else self.teachers(task, teacher)
        return self.untrained(task, student) | {"teacher": beside, "head": head}

    def head(self, method: str) -> tuple[str, ...]:
        return ("reused-head",) if self.study.methods[method].reuses_head else ()

    def report(self, name: str) -> Record:
        grid = self.study.grid
        cells = [
            [task, teacher, student, method, seed]
            for task in grid.tasks
            for teacher in grid.teachers
            for student in grid.students
            for method in self.study.methods_of(student)
            for seed in grid.seeds
        ]
        taught = [cell if self.study.methods[cell[3]].signals else [cell[0], "none", *cell[2:]] for cell in cells]
        once = [list(cell) for cell in dict.fromkeys(map(tuple, taught))]
        served = [
            (teacher, student, *head)
            for teacher, student in product(grid.teachers, grid.students)
            for head in sorted({self.head(method) for method in self.study.methods_of(student)})
        ]
        return {
            "name": name,
            "tasks": {task: [self.floors(task), self.study.tasks[task].classes] for task in grid.tasks},
            "order": grid.tasks,
            "teachers": [[task, one, self.teachers(task, one)] for task in grid.tasks for one in grid.teachers],
            "taught": self.study.taught_floor
            and [self.floors(task, one) for task in grid.tasks for one in grid.teachers],
            "cells": [[*cell, self.students(*cell[:4], f"seed{cell[4]}")] for cell in once],
            "inference": self.study.inference
            and [[task, *one, self.inference(task, *one)] for task in grid.tasks for one in served],
        }


def candidates_of(study: Study, student: str, method: str, task: str) -> list[Any]:
    loss = study.methods[method].for_classes(len(study.tasks[task].classes))
    return candidates(study.search, student, study.students[student].training_on(task), method, loss)


def edited(config: dict[str, Any], keys: tuple[str, ...], value: Any) -> dict[str, Any]:
    config = copy.deepcopy(config)
    inner = config
    for key in keys[:-1]:
        inner = inner.setdefault(key, {})
    inner[keys[-1]] = value
    return config


def test_identities_change_exactly_with_what_nodes_depend_on() -> None:
    # The same sequences every time: others are tried by tests/torture.py.
    compare(25, derandomize=True)


def compare(sequences: int, **options: Any) -> None:
    """Identities with the plain record, along so many random sequences of edits."""
    settings(deadline=None, max_examples=sequences, **options)(given(st.lists(EDIT, min_size=4, max_size=8))(follow))()


def test_each_edit_alone_changes_what_depends_on_it() -> None:
    seen = Seen()
    seen.look_at(BASE)
    for keys, value in chain.from_iterable(PLACES):
        seen.look_at(edited(BASE, keys, value))


def follow(edits: list[Edit]) -> None:
    seen, config = Seen(), BASE
    seen.look_at(config)
    for keys, value in edits:
        config = edited(config, keys, value)
        seen.look_at(config)


class Seen:
    """What was seen of nodes so far: records by name and identity, and the other way round."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], str] = {}
        self.identities: dict[tuple[str, str], str] = {}

    def look_at(self, config: dict[str, Any]) -> None:
        """Compare all nodes of a config with what was seen."""
        try:
            study = load_study(config, [PATH])
            graph = Graph(study)
        except CodekdError as error:
            assert re.search("gives logits alone|are not in the grid|is not in the grid", str(error)), error
            return
        oracle = Oracle(study)
        for node in graph:
            record = json.dumps(oracle.of(node.path), sort_keys=True)
            assert self.records.setdefault((node.path, node.identity), record) == record, f"{node.path}: one too few"
            assert self.identities.setdefault((node.path, record), node.identity) == node.identity, (
                f"{node.path}: one too many"
            )
