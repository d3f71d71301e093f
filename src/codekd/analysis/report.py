"""The stage that makes a study's tables, figures and page from its trained nodes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from codekd.analysis import breakdown, figures, findings, serving, style, tables
from codekd.analysis.behaviour import MAX_CONFIDENCE_GAP, MAX_DIVERGENCE
from codekd.analysis.numbers import METRIC_NAMES, p, percent, points, ratio, share, size
from codekd.analysis.resampled import resample
from codekd.analysis.results import read_tasks
from codekd.errors import CodekdError

if TYPE_CHECKING:
    from codekd.study.job import Job

Row = dict[str, Any]
BESIDE = ("cells", "reliability", "unlearned")
"""Tables that the page does not show whole."""

FIGURES: dict[str, Callable[[Mapping[str, pl.DataFrame]], Figure]] = {
    "scores": lambda made: figures.scores(made["scores"]),
    "methods": lambda made: figures.methods(made["scores"]),
    "ranks": lambda made: figures.ranks(made["ranks"]),
    "retention": lambda made: figures.retention(made["scores"]),
    "time": lambda made: figures.time(made["scores"]),
    "pareto": lambda made: figures.pareto(made["pareto"]),
    "agreement": lambda made: figures.agreement(_with_sizes(made["behaviour"], made["scores"])),
    "reliability": lambda made: figures.reliability(made["reliability"], tables.best_students(made["scores"])),
}


def run(job: Job, folder: Path) -> dict[str, Any]:
    """Write ``tables/``, ``figures/`` and ``index.html``.

    The spec names the study, its tasks (metric and classes), its teachers ``[task, teacher]`` and its cells
    ``[task, teacher, student, method, seed]``. Raises ``CodekdError`` for results that are missing,
    unreadable or not comparable.
    """
    if not job.spec["cells"]:
        raise CodekdError(f"{job.name}: the study has no cells; give its grid at least one student and method.")
    tasks = read_tasks(job)
    resampled = [resample(task) for task in tasks]
    scores, references, served = tables.scores(resampled), tables.references(resampled), serving.inference(job)
    made = {
        "cells": tables.cells(tasks),
        "scores": scores,
        "methods": tables.methods(resampled, scores),
        "ranks": tables.ranks(scores),
        "references": references,
        "inference": served,
        "pareto": serving.pareto(scores, references, served),
        "types": tables.types(resampled),
        "behaviour": breakdown.behaviour(resampled),
        "reliability": breakdown.reliabilities(resampled),
        "classes": breakdown.classes(resampled),
        "lengths": breakdown.lengths(resampled),
        "unlearned": breakdown.unlearned(resampled),
    }
    _write_tables(made, folder / "tables")
    _write_figures(made, folder / "figures")
    three = {name: made[name] for name in ("scores", "methods", "references")}
    page = _render(
        study=job.spec["study"],
        summary=findings.summary(tasks),
        findings={task.name: findings.findings(task.name, **three) for task in tasks},
        limits=findings.limits(resampled),
        unlearned=findings.unlearned(made["unlearned"], {task.name: len(task.labels) for task in tasks}),
        tables={name: list(table.iter_rows(named=True)) for name, table in made.items() if name not in BESIDE},
        files={name: len(table) for name, table in made.items()},
        figures={name: inline_svg((folder / "figures" / f"{name}.svg").read_text(), name) for name in FIGURES},
        sources=list(_sources(job)),
    )
    (folder / "index.html").write_text(page, encoding="utf-8")
    return {"cells": len(made["cells"]), "tasks": len(tasks)}


def inline_svg(svg: str, name: str) -> Markup:
    """A figure's SVG for inclusion in a page: the page's colours, and ids that no other figure has."""
    body = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    for colour, variable in (
        (style.INK, "ink"),
        (style.MUTED, "muted"),
        (style.GRID, "grid"),
        (style.BAND, "band"),
        (style.PAPER, "paper"),
    ):
        body = body.replace(colour, f"var(--{variable})")
    return Markup(body)  # noqa: S704 - matplotlib escapes what it writes


def _write_tables(made: dict[str, pl.DataFrame], folder: Path) -> None:
    folder.mkdir()
    for name, table in made.items():
        table.write_csv(folder / f"{name}.csv")
        table.write_parquet(folder / f"{name}.parquet")


def _write_figures(made: Mapping[str, pl.DataFrame], folder: Path) -> None:
    folder.mkdir()
    with style.applied():
        for name, draw in FIGURES.items():
            style.save(draw(made), folder / name)


def _with_sizes(table: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """The rows of students, with their numbers of parameters."""
    return table.join(scores.select(*tables.NAMES, "parameters"), on=tables.NAMES, maintain_order="left")


def _sources(job: Job) -> Iterator[Row]:
    """The folders read. The report's own is as deep in the results folder as it has coordinates."""
    results = os.path.commonpath(job.parents.values())
    up = "/".join([".."] * (len(job.coordinates) + 1))
    for role, folder in sorted(job.parents.items()):
        path = folder.relative_to(results).as_posix()
        identity = json.loads((folder / "manifest.json").read_text())["identity"]
        yield {"stage": role.split("/")[0], "path": path, "link": f"{up}/{path}", "identity": identity}


def _groups(rows: Iterable[Row], *keys: str) -> list[tuple[tuple[str, ...], list[Row]]]:
    """Rows with the same values of the keys, in order of first appearance; jinja's own ``groupby`` sorts."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return list(groups.items())


def _render(**content: Any) -> str:
    here = Path(__file__)
    environment = Environment(
        loader=FileSystemLoader(here.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["groupby_in_order"] = _groups
    for function in (p, percent, points, ratio, share, size, findings.estimate, findings.distinguishable):
        environment.globals[function.__name__] = function
    environment.globals |= {"METRIC_NAMES": METRIC_NAMES}
    environment.globals |= {"MAX_DIVERGENCE": MAX_DIVERGENCE, "MAX_CONFIDENCE_GAP": MAX_CONFIDENCE_GAP}
    return environment.get_template(f"{here.stem}.html.j2").render(content)
