"""A study that is killed again and again, compared with one that nobody disturbed."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from every_stage import Project

from codekd.study.folders import node_folders
from codekd.study.manifest import MANIFEST, read_manifest

CONFIG = """\
name: crashes
grid: {tasks: [defect], teachers: [coder], students: [bigru-1.5m], methods: [ft, ckd], seeds: [1]}
corpora:
  current: {pins: corpus/current.txt, packages: [celery, gunicorn, nbconvert, astroid]}
split: corpus/split.json
vocabularies: {functions: [defect]}
search: {methods: {ckd: {beta: [1.0, 10.0]}}}
tasks:
  defect: {max_length: 48, examples: {train: 64, valid: 32, test: 32, unlabeled: 32}}
teachers:
  coder:
    preset: minilm
    adaptation: {functions: 32, max_length: 32, training: {epochs: 2}}
    training: {epochs: 2}
students:
  bigru-1.5m: {vocabulary_size: 500}
training: {epochs: 3}
"""
SMALL = """\
name: small
grid: {tasks: [defect], teachers: [minilm], students: [roberta-1.5m], methods: [ft, kd], seeds: [1]}
corpora:
  current: {pins: corpus/current.txt, packages: [celery, gunicorn, nbconvert, astroid]}
split: corpus/split.json
vocabularies: {functions: [defect]}
tasks:
  defect: {max_length: 48, examples: {train: 64, valid: 32, test: 32, unlabeled: 32}}
teachers:
  minilm: {training: {epochs: 2}}
students:
  roberta-1.5m: {vocabulary_size: 500}
training: {epochs: 3}
"""
TIMES = re.compile("seconds|per_second|joules|time")
STAGE = re.compile(r"-P\s\S*workflow/scripts/|snakemake/scripts/|\.snakemake/scripts/")


@dataclass
class Outcome:
    """Of some kills: how many hit the master and how many a stage, and what was wrong in the end."""

    kills: int = 0
    of_master: int = 0
    studies: int = 0
    computed_twice: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)


class Victim:
    """A project whose runs are killed."""

    def __init__(self, folder: Path, seed: int, config: str = CONFIG) -> None:
        self.project = Project(folder, config)
        self.random = random.Random(seed)

    def start(self, config: str | None = None) -> subprocess.Popen[str]:
        """A run in a session of its own."""
        with (self.project.folder / "run.log").open("a") as log:
            return self.project.start("all", config=config, stdout=log, stderr=log, start_new_session=True)

    def disturb(self, kills: int, expected: Path | None = None) -> Outcome:
        """Run studies, one after another, until so many processes were killed and the last study is finished.

        ``expected`` are the results that each is to have, by default those of a run that nobody kills.
        """
        found = Outcome()
        expected = expected or undisturbed(self)
        while found.kills < kills:
            shutil.rmtree(self.project.results, ignore_errors=True)
            known: dict[Path, bytes] = {}
            while (run := self.start()).poll() is None:
                until = time.monotonic() + self.random.uniform(1, 14)
                while run.poll() is None and time.monotonic() < until:
                    time.sleep(0.05)
                if found.kills < kills and run.poll() is None:
                    found.of_master += self.kill(run)
                    found.kills += 1
                run.wait()
                known |= {path: path.read_bytes() for path in manifests(self.project.results) if path not in known}
                if run.returncode == 0:
                    break
            found.studies += 1
            found.computed_twice += [str(path) for path, content in known.items() if path.read_bytes() != content]
            found.differing += differences(expected, self.project.results)
        return found

    def kill(self, run: subprocess.Popen[str]) -> bool:
        """Kill the master, or one of the stages, or all at once; whether the master is among them."""
        stages = list(self.stages())
        choice = self.random.choice(["master", "stage", "stage", "all"])
        if choice == "stage" and stages:
            os.kill(self.random.choice(stages), signal.SIGKILL)
            return False
        if choice == "all":
            os.killpg(run.pid, signal.SIGKILL)
        else:
            os.kill(run.pid, signal.SIGKILL)
        return True

    def stages(self) -> Iterator[int]:
        """The processes of this project that run a stage."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                here = (entry / "cwd").resolve() == self.project.folder.resolve()
            except OSError:
                continue
            if here and STAGE.search(command) and not command.startswith(("/bin/bash", "bash")):
                yield int(entry.name)


def undisturbed(victim: Victim) -> Path:
    """The results of a run that nobody kills, made once beside the project."""
    folder = victim.project.folder
    results = folder.with_name(f"{folder.name}-undisturbed")
    if not results.exists():
        assert victim.start().wait() == 0, (folder / "run.log").read_text()[-3000:]
        victim.project.results.rename(results)
    return results


def manifests(results: Path) -> Iterator[Path]:
    """Of the nodes that are finished."""
    return (folder / MANIFEST for folder in node_folders(results) if (folder / MANIFEST).exists())


def differences(expected: Path, results: Path) -> list[str]:
    """Files of finished results that are not as expected; there may be other nodes, and times may be others."""
    found = []
    for folder in node_folders(results):
        read_manifest(folder)
        wanted = expected / folder.relative_to(results)
        names = {path.relative_to(one) for one in (folder, wanted) for path in one.rglob("*") if path.is_file()}
        for name in sorted(names - {Path(MANIFEST)}):
            first, second = wanted / name, folder / name
            if not (first.exists() and second.exists()):
                found.append(f"{second} is missing, or one too many")
            elif folder.relative_to(results).parts[0] != "report" and plain(first) != plain(second):
                found.append(f"{second} differs")
    return found


def plain(path: Path) -> Any:
    """What a file says, but for times."""
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        return (
            {key: value for key, value in content.items() if not TIMES.search(key)}
            if isinstance(content, dict)
            else content
        )
    if path.name == "history.parquet":
        frame = pl.read_parquet(path)
        return frame.select(name for name in frame.columns if not TIMES.search(name)).to_dict(as_series=False)
    return path.read_bytes()
