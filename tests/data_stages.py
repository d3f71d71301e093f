"""Run data stages on a few small pinned wheels, or on modules written by a test."""

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from codekd.data.functions import functions_of
from codekd.data.pins import Pin, read_pins
from codekd.signals.base import Signal
from codekd.study.graph import Node
from codekd.study.job import Job
from codekd.study.manifest import write_manifest
from codekd.study.stage import Assignment, run_nodes

LISTS = Path(__file__).parent.parent / "config" / "corpus"
SOURCES = Path(__file__).parent.parent / "src" / "codekd" / "data"
FINE_TUNED = {"by": "finetuned"}
SPLIT = {"docker": "train", "traitlets": "valid", "redis": "test"}


def pins(corpus: str, names: Mapping[str, str] = SPLIT) -> list[Pin]:
    """The pins of a few small packages of a corpus."""
    return [pin for pin in read_pins(LISTS / f"{corpus}.txt") if pin.name in names]


def run_stage(
    entry: str, folder: Path, spec: Mapping[str, Any], parents: Mapping[str, Path] | None = None
) -> dict[str, Any]:
    """Run a stage into a new folder and return its summary."""
    folder.mkdir(parents=True)
    return importlib.import_module(entry).run(job_of(entry, folder, spec, parents or {}), folder)


def run_signals(
    entry: str, folders: Mapping[Path, Signal], parents: Mapping[str, Path], spec: Mapping[str, Any] = FINE_TUNED
) -> list[dict[str, Any]]:
    """Capture or verify signals in one pass, each into a new folder with its summary in a manifest."""
    for folder in folders:
        folder.mkdir(parents=True)
    jobs = [
        job_of(entry, folder, {"signal": signal.model_dump(), **spec}, parents) for folder, signal in folders.items()
    ]
    summaries = importlib.import_module(entry).run(jobs, list(folders))
    for folder, summary in zip(folders, summaries, strict=True):
        write_manifest(folder, {"summary": summary})
    return summaries


def make_node(
    results: Path, node: Node, run: Callable[[Job, Path], dict[str, Any]] | None = None, together: bool = False
) -> Path:
    """Make a node in some results as production does; by default by the stage that its first entry names."""
    run = run or importlib.import_module(node.entries[0]).run
    one_by_one = run if together else lambda jobs, folders: [run(*jobs, *folders)]
    run_nodes(one_by_one, [Assignment(json.loads(node.job(results)), results / node.folder)])
    return results / node.folder


def job_of(entry: str, folder: Path, spec: Mapping[str, Any], parents: Mapping[str, Path]) -> Job:
    """What a stage is told to make a folder."""
    scratch = folder.parent / "scratch" / folder.name
    return Job(entry.rsplit(".", 1)[-1], ("task", "teacher", folder.name), spec, parents, scratch)


def code_columns(columns: Sequence[str], count: int) -> dict[str, list[str]]:
    """Functions of this project as columns of so many examples."""
    code = [function.code for path in sorted(SOURCES.glob("*.py")) for function in functions_of(path.read_text())]
    return {
        column: [code[(7 * row + 3 * piece) % len(code)] for row in range(count)]
        for piece, column in enumerate(columns)
    }


def write_corpus(folder: Path, modules: Mapping[str, str]) -> Path:
    """A corpus of given modules, named ``package/path``."""
    folder.mkdir(parents=True)
    rows = [
        {
            "package": name.split("/")[0],
            "version": "1",
            "path": name,
            "qualname": function.qualname,
            "code": function.code,
        }
        for name, source in modules.items()
        for function in functions_of(source)
    ]
    pl.DataFrame(rows).write_parquet(folder / "functions.parquet")
    return folder
