"""Run data stages on a few small pinned wheels, or on modules written by a test."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from codekd.data.functions import functions_of
from codekd.data.pins import Pin, read_pins
from codekd.study.job import Job

LISTS = Path(__file__).parent.parent / "config" / "corpus"
SPLIT = {"docker": "train", "traitlets": "valid", "redis": "test"}


def pins(corpus: str, names: Mapping[str, str] = SPLIT) -> list[Pin]:
    """The pins of a few small packages of a corpus."""
    return [pin for pin in read_pins(LISTS / f"{corpus}.txt") if pin.name in names]


def run_stage(
    entry: str, folder: Path, spec: Mapping[str, Any], parents: Mapping[str, Path] | None = None
) -> dict[str, Any]:
    """Run a stage into a new folder and return its summary."""
    folder.mkdir(parents=True)
    job = Job(entry.rsplit(".", 1)[-1], (folder.name,), spec, parents or {}, folder.parent / "scratch")
    return importlib.import_module(entry).run(job, folder)


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
