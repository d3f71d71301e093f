"""A study with every stage, finished in name only: what planning reads of it, and nothing that was computed."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

import yaml

from codekd.study.explain import described
from codekd.study.graph import Graph, Node
from codekd.study.manifest import write_manifest
from codekd.study.resolve import load_study

ROOT = Path(__file__).parents[1]
CHECKOUT = ("Snakefile", "config", "envs", "profiles", "src", "workflow")
CONFIG = """\
name: every-stage
grid:
  tasks: [clone, defect, notes]
  teachers: [minilm, coder, asked, hub]
  students: [bigru-1.5m, roberta-1.5m]
  methods: [ft, kd, dist]
  seeds: [1]
corpora:
  current: {pins: corpus/current.txt, packages: [celery, docker, kombu, nbconvert]}
  previous: {pins: corpus/previous.txt, packages: [celery, docker, kombu]}
split: corpus/split.json
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
RELATIONAL = """\
name: relational
grid:
  tasks: [defect]
  teachers: [minilm]
  students: [bigru-1.5m, roberta-1.5m]
  methods: [ft, kd, dist, pkd, ckd]
  seeds: [1]
corpora:
  current: {pins: corpus/current.txt, packages: [celery, docker, kombu, nbconvert]}
  previous: {pins: corpus/previous.txt, packages: [celery, docker, kombu]}
split: corpus/split.json
training: {epochs: 2}
tasks:
  defect: {examples: {train: 100}}
"""


class Project:
    """A copy of the project in a folder of its own with a config of its own."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        for name in CHECKOUT:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        self.config = folder / "config" / "study.yaml"
        self.config.write_text(config)
        (folder / "config" / "study.lock").write_text(f"models/microsoft/unixcoder-base@main: {'a' * 40}\n")
        (folder / "config" / "notes.csv").write_text("code,label\nx = 1,good\n")
        (folder / "config" / "asked").mkdir()
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            (folder / "config" / "asked" / name).write_text("{}")

    @property
    def results(self) -> Path:
        """The results folder."""
        return self.folder / "results"

    def graph(self) -> Graph:
        """The graph of the config, with the source that these tests run."""
        return Graph(load_study(yaml.safe_load(self.config.read_text()), [self.config]), self.results)

    def names(self) -> set[str]:
        """Stage and coordinates of every node."""
        return {name_of(node) for node in self.graph()}

    def finish(self) -> None:
        """Leave of every node what it leaves, but for its content."""
        finish(self.graph(), self.results)

    def would_run(self) -> set[str]:
        """Stage and coordinates of the nodes that ``snakemake -n`` would make."""
        done = self.snakemake("-n", "all")
        assert done.returncode == 0, done.stdout[-1000:]
        lines = " ".join(re.findall(r"Missing output files: (.*)", done.stdout))
        found = set(re.findall(r"results/(\S+)-[0-9a-f]{12}/manifest.json", lines))
        assert bool(found) != ("Nothing to be done" in done.stdout), done.stdout[-1000:]
        return found

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it on the config."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--configfile", "config/study.yaml"]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def finish(nodes: Iterable[Node], results: Path, seconds: float = 60) -> None:
    """Leave the manifests of finished nodes."""
    summary = {split: {"examples": 10, "tokens": 100} for split in ("train", "valid", "test", "unlabeled")}
    summary |= {"metric": "accuracy", "scores": {"test": {"accuracy": 0.5}}}
    for node in nodes:
        folder = results / node.folder
        folder.mkdir(parents=True, exist_ok=True)
        manifest = {**json.loads(node.job(results)), **described(node), "summary": summary, "files": {}}
        write_manifest(folder, manifest | {"finished": "2026-01-01T00:00:00+00:00", "seconds": seconds, "versions": {}})


def name_of(node: Node) -> str:
    """Stage and coordinates."""
    return "/".join((node.stage, *node.coordinates))


def matching(names: Iterable[str], patterns: Iterable[str]) -> set[str]:
    """The names that match one of some patterns, each of which must match one."""
    names = set(names)
    found = {pattern: {name for name in names if fnmatch(name, pattern)} for pattern in patterns}
    assert all(found.values()), f"of no node: {[pattern for pattern, some in found.items() if not some]}"
    return set().union(*found.values())
