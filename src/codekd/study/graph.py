"""The graph of a study: one node per piece of work, named by its identity.

A node's folder is ``results/<stage>/<coordinates>-<identity>``. The identity covers the values that a node uses, the
source that it runs and its parents' identities, and nothing of the grid's size: another seed renames no node.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from codekd.errors import CodekdError
from codekd.models.layers import teacher_layers
from codekd.signals.base import UNITS_OF_SYNTAX, Signal
from codekd.study import components
from codekd.study.config import Study, Trained
from codekd.study.identity import canonical, code_digest, digest

MANIFEST = "manifest.json"
NO_TEACHER = "none"

TOGETHER = ("signals", "verified")
"""Stages whose nodes of one task and teacher are made in one pass of it."""


@dataclass(frozen=True)
class Node:
    """One stage's piece of work.

    ``coordinates`` name it for people, ``spec`` holds the values that it uses, ``entries`` the modules that it runs,
    ``parents`` the nodes that it reads, by role.
    """

    stage: str
    coordinates: tuple[str, ...]
    spec: Mapping[str, Any]
    entries: tuple[str, ...]
    parents: Mapping[str, "Node"] = field(default_factory=dict)

    @cached_property
    def code(self) -> str:
        """Digest of the source that this node runs."""
        return code_digest(self.entries)

    @cached_property
    def identity(self) -> str:
        """Digest of the stage, the spec, the code and the parents' identities."""
        parents = {role: parent.identity for role, parent in self.parents.items()}
        return identity(self.stage, self.spec, self.code, parents)

    @cached_property
    def folder(self) -> Path:
        """Where the node's output lies, relative to the results folder."""
        return Path(self.stage, *self.coordinates[:-1], f"{self.coordinates[-1]}-{self.identity}")

    def job(self, results: Path) -> str:
        """What the stage is told, as canonical JSON: identity, spec, source and the parents' folders."""
        return canonical(
            {
                "stage": self.stage,
                "coordinates": self.coordinates,
                "identity": self.identity,
                "spec": self.spec,
                "code": self.code,
                "entries": self.entries,
                "parents": {
                    role: {"identity": parent.identity, "folder": str(results / parent.folder)}
                    for role, parent in self.parents.items()
                },
            }
        )


def identity(stage: str, spec: Mapping[str, Any], code: str, parents: Mapping[str, str]) -> str:
    """The identity of a node; ``parents`` maps roles to identities."""
    return digest({"stage": stage, "spec": spec, "code": code, "parents": parents})


class Graph:
    """All nodes of a study; ``report`` is the last one and every other is its ancestor."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._nodes: dict[tuple[str, tuple[str, ...]], Node] = {}
        self.report = self._report()
        self.by_folder = {str(node.folder): node for node in self._nodes.values()}

    def __iter__(self) -> Iterator[Node]:
        """All nodes, parents before children."""
        return iter(self._nodes.values())

    def stage(self, stage: str) -> list[Node]:
        """The nodes of one stage."""
        return [node for node in self if node.stage == stage]

    def _add(
        self,
        stage: str,
        coordinates: tuple[str, ...],
        spec: Mapping[str, Any],
        entries: Iterable[str],
        parents: Mapping[str, Node] | None = None,
    ) -> Node:
        node = Node(stage, coordinates, spec, tuple(sorted(entries)), parents or {})
        return self._nodes.setdefault((stage, coordinates), node)

    def _known(self, stage: str, *coordinates: str) -> Node | None:
        return self._nodes.get((stage, coordinates))

    def _corpus(self, name: str, task: str) -> Node:
        if name not in self._study.corpora:
            raise CodekdError(f"task {task} reads the corpus {name!r}; name its list of pins under `corpora:`.")
        wheels = [pin.model_dump() for pin in self._study.corpora[name]]
        return self._known("corpus", name) or self._add("corpus", (name,), {"wheels": wheels}, ["codekd.data.corpus"])

    def _examples(self, task: str) -> Node:
        if known := self._known("examples", task):
            return known
        config = self._study.tasks[task]
        corpora = {f"corpus/{name}": self._corpus(name, task) for name in config.corpora}
        packages = {pin.name for name in config.corpora for pin in self._study.corpora[name]}
        split = {package: part for package, part in self._study.split.items() if package in packages}
        spec = {"task": config.model_dump(mode="json", exclude={"metric", "max_length"}), "split": split}
        entries = ["codekd.data.examples", components.module_name("tasks", config.kind)]
        return self._add("examples", (task,), spec, entries, corpora)

    def _floor(self, task: str) -> Node:
        entries = ["codekd.analysis.floors"]
        return self._add("floors", (task,), self._task_spec(task), entries, {"examples": self._examples(task)})

    def _task_spec(self, task: str) -> dict[str, Any]:
        config = self._study.tasks[task]
        return {
            "metric": config.metric,
            "classes": list(config.classes),
            "columns": list(config.columns),
            "has_hole": config.has_hole,
        }

    def _tokenizer(self, task: str, size: int) -> Node:
        groups = self._study.vocabularies
        group = next((name for name, tasks in groups.items() if task in tasks), task)
        coordinates = (group, str(size))
        if known := self._known("tokenizers", *coordinates):
            return known
        tasks = sorted(groups.get(group, [task]))
        spec = {"size": size, "columns": {name: list(self._study.tasks[name].columns) for name in tasks}}
        parents = {f"examples/{name}": self._examples(name) for name in tasks}
        return self._add("tokenizers", coordinates, spec, ["codekd.data.bpe"], parents)

    def _encoded(self, task: str, name: str, tokenizer: Node, max_length: int) -> Node:
        """A task's examples as sequences of a tokenizer, which lies in a tokenizer's or a teacher's folder."""
        if limit := self._study.tasks[task].max_length:
            max_length = min(max_length, limit)
        spec = {"max_length": max_length, **self._task_spec(task)}
        del spec["metric"]
        parents = {"examples": self._examples(task), "tokenizer": tokenizer}
        return self._add("encoded", (task, f"{name}-{max_length}"), spec, ["codekd.data.encode"], parents)

    def _pretrained(self, name: str) -> Node:
        config = self._study.teachers[name].component
        entries = ["codekd.models.pretrained", components.module_name("teachers", config.kind)]
        spec = {"source": config.source(), "layers": config.layers, "width": config.width}
        return self._add("pretrained", (name,), spec, entries)

    def _teacher(self, task: str, name: str) -> Node:
        if known := self._known("teachers", task, name):
            return known
        teacher = self._study.teachers[name]
        pretrained = self._pretrained(name)
        encoded = self._encoded(task, name, pretrained, teacher.component.max_length)
        spec = self._training_spec(task, teacher) | {"dropout": teacher.component.dropout, "seed": 1}
        parents = {"encoded": encoded, "pretrained": pretrained}
        return self._add("teachers", (task, name), spec, ["codekd.training.teacher"], parents)

    def _training_spec(self, task: str, trained: Trained) -> dict[str, Any]:
        config = self._study.tasks[task]
        return {
            "classes": len(config.classes),
            "metric": config.metric,
            "pooling": trained.component.pooling_for(config.shape),
            "training": trained.training.model_dump(),
        }

    def _syntax(self, task: str) -> Node:
        config = self._study.tasks[task]
        spec = {"columns": list(config.columns), "language": config.language}
        return self._known("syntax", task) or self._add(
            "syntax", (task,), spec, ["codekd.data.lexemes"], {"examples": self._examples(task)}
        )

    def _signal(self, task: str, teacher: str, signal: Signal) -> Node:
        fine_tuned = self._teacher(task, teacher)
        parents = {"encoded": fine_tuned.parents["encoded"], "teacher": fine_tuned}
        if signal.unit in UNITS_OF_SYNTAX:
            parents["syntax"] = self._syntax(task)
        entries = ["codekd.signals.capture", f"codekd.signals.{signal.kind}"]
        spec = {"signal": signal.model_dump(mode="json")}
        return self._add("signals", (task, teacher, signal.name), spec, entries, parents)

    def _verified(self, captured: Node) -> Node:
        """The check of what was captured against the live teacher.

        A better check makes no cache another one: its source is in no identity.
        """
        parents = {**captured.parents, "signal": captured}
        return self._add("verified", captured.coordinates, captured.spec, [], parents)

    def _method(self, task: str, teacher: str, student: str, method: str) -> tuple[Any, tuple[Signal, ...]]:
        """A method as it applies to a cell, and the signals that it asks for there."""
        layers = self._study.students[student].component.layers
        try:
            loss = self._study.methods[method].for_classes(len(self._study.tasks[task].classes))
            if loss.by_layer:
                teacher_layers(layers, self._study.teachers[teacher].component.layers)
            return loss, loss.requests(layers)
        except CodekdError as error:
            raise CodekdError(f"grid: {method} for {student} from {teacher} on {task}: {error}") from None

    def _cell(self, task: str, teacher: str, student: str, method: str, seed: int) -> Node:
        trained = self._study.students[student]
        architecture = trained.component
        loss, signals = self._method(task, teacher, student, method)
        if not loss.signals:
            teacher = NO_TEACHER
        coordinates = (task, teacher, student, method, f"seed{seed}")
        if known := self._known("students", *coordinates):
            return known
        tokenizer = self._tokenizer(task, architecture.vocabulary_size)
        name = f"bpe{architecture.vocabulary_size}"
        spec = self._training_spec(task, trained) | {
            "architecture": architecture.model_dump(mode="json", exclude={"pooling"}),
            "method": loss.model_dump(mode="json"),
            "seed": seed,
        }
        entries = [
            "codekd.training.student",
            components.module_name("students", architecture.kind),
            components.module_name("methods", loss.kind),
        ]
        parents = {"encoded": self._encoded(task, name, tokenizer, architecture.max_length)}
        for signal in signals:
            captured = self._signal(task, teacher, signal)
            parents |= {f"signals/{signal.kind}": captured, f"verified/{signal.kind}": self._verified(captured)}
            if signal.unit in UNITS_OF_SYNTAX:
                parents["syntax"] = self._syntax(task)
        if loss.reuses_head:
            parents["teacher"] = self._teacher(task, teacher)
        return self._add("students", coordinates, spec, entries, parents)

    def _report(self) -> Node:
        grid = self._study.grid
        parents: dict[str, Node] = {}
        cells: dict[tuple[str | int, ...], None] = {}
        for task in grid.tasks:
            parents[f"examples/{task}"] = self._examples(task)
            parents[f"floors/{task}"] = self._floor(task)
            for teacher in grid.teachers:
                parents[f"teachers/{task}/{teacher}"] = self._teacher(task, teacher)
                for student in grid.students:
                    for method in grid.methods:
                        for seed in grid.seeds:
                            cell = self._cell(task, teacher, student, method, seed)
                            key = (task, cell.coordinates[1], student, method, seed)
                            parents[f"students/{'/'.join(map(str, key))}"] = cell
                            cells[key] = None
        spec = {
            "study": self._study.name,
            "tasks": {task: self._task_spec(task) for task in grid.tasks},
            "teachers": [[task, teacher] for task in grid.tasks for teacher in grid.teachers],
            "cells": [list(cell) for cell in cells],
        }
        return self._add("report", (self._study.name,), spec, ["codekd.analysis.report"], parents)
