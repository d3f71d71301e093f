"""A study with every stage, finished in name only: what planning reads of it, and nothing that was computed."""

import json
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

import yaml
from checkout import Checkout

from codekd.study.explain import described
from codekd.study.graph import Graph, Node
from codekd.study.manifest import write_manifest
from codekd.study.resolve import load_study

CORPUS = """\
corpora:
  current: {pins: corpus/current.txt, packages: [celery, docker, kombu, nbconvert]}
  previous: {pins: corpus/previous.txt, packages: [celery, docker, kombu]}
split: corpus/split.json
"""
CONFIG = (
    CORPUS
    + """\
name: every-stage
grid:
  tasks: [clone, defect, notes]
  teachers: [minilm, coder, asked, hub]
  students: [bigru-1.5m, roberta-1.5m]
  methods: [ft, kd, dist]
  seeds: [1]
inference: true
training: {epochs: 2}
search:
  methods: {dist: {gamma: [1.0, 2.0]}}
tasks:
  notes: {kind: table, files: {all: notes.csv}, classes: [good, bad]}
  clone: {examples: {train: 100}}
  defect: {examples: {train: 100}}
teachers:
  coder: {preset: minilm, adaptation: {functions: 1000}}
  asked: {kind: lm, source: {folder: asked}, layers: 2, width: 16, prompt: "Is {code} good?"}
  hub: {preset: unixcoder, source: {hub: microsoft/unixcoder-base}}
"""
)
RELATIONAL = (
    CORPUS
    + """\
name: relational
grid:
  tasks: [defect]
  teachers: [minilm]
  students: [bigru-1.5m, roberta-1.5m]
  methods: [ft, kd, dist, pkd, ckd]
  seeds: [1]
training: {epochs: 2}
tasks:
  defect: {examples: {train: 100}}
"""
)
STARTED = (
    CORPUS
    + """\
name: started
grid:
  tasks: [clone, defect]
  teachers: [minilm]
  students: [roberta-1.5m, masked, aligned, related, embedded]
  methods: [ft, kd]
  seeds: [1]
training: {epochs: 2}
tasks:
  clone: {examples: {train: 100}}
  defect: {examples: {train: 100}}
teachers:
  coder: {preset: minilm, adaptation: {functions: 1000}}
students:
  masked: {preset: roberta-1.5m, start: {kind: masked}}
  aligned: {preset: bigru-1.5m, start: {kind: aligned, teacher: coder}}
  related: {preset: roberta-1.5m, start: {kind: relations, teacher: coder, windows: 1000}}
  embedded: {preset: roberta-1.5m, start: {kind: embeddings, teacher: minilm}}
"""
)


class Project(Checkout):
    """A copy of the project with a config of its own."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        super().__init__(folder, "config/study.yaml")
        self.path = folder / self.config
        self.path.write_text(config)
        (folder / "config" / "study.lock").write_text(f"models/microsoft/unixcoder-base@main: {'a' * 40}\n")
        (folder / "config" / "notes.csv").write_text("code,label\nx = 1,good\n")
        (folder / "config" / "asked").mkdir()
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            (folder / "config" / "asked" / name).write_text("{}")

    def graph(self) -> Graph:
        """The graph of the config, with the source that these tests run."""
        return Graph(load_study(yaml.safe_load(self.path.read_text()), [self.path]), self.results)

    def names(self) -> set[str]:
        """Stage and coordinates of every node."""
        return {node.path for node in self.graph()}

    def finish(self) -> None:
        """Leave of every node what it leaves, but for its content."""
        finish(self.graph(), self.results)


def finish(nodes: Iterable[Node], results: Path, seconds: float = 60) -> None:
    """Leave the manifests of finished nodes."""
    summary = {split: {"examples": 10, "tokens": 100} for split in ("train", "valid", "test", "unlabeled")}
    summary |= {"metric": "accuracy", "scores": {"test": {"accuracy": 0.5}}}
    for node in nodes:
        folder = results / node.folder
        folder.mkdir(parents=True, exist_ok=True)
        manifest = {**json.loads(node.job(results)), **described(node), "summary": summary, "files": {}}
        write_manifest(folder, manifest | {"finished": "2026-01-01T00:00:00+00:00", "seconds": seconds, "versions": {}})


def matching(names: Iterable[str], patterns: Iterable[str]) -> set[str]:
    """The names that match one of some patterns, each of which must match one."""
    names = set(names)
    found = {pattern: {name for name in names if fnmatch(name, pattern)} for pattern in patterns}
    assert all(found.values()), f"of no node: {[pattern for pattern, some in found.items() if not some]}"
    return set().union(*found.values())
