"""The stage that makes a study's tables, figures and page from its trained nodes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from matplotlib.figure import Figure

from codekd.analysis import breakdown, figures, findings, page, practice, questions, serving, style, tables
from codekd.analysis.published import published
from codekd.analysis.resampled import Resampled, resample
from codekd.analysis.results import Task, read_tasks
from codekd.analysis.style import Layout
from codekd.errors import CodekdError

if TYPE_CHECKING:
    from codekd.study.job import Job

Row = dict[str, Any]
HEADLINES = ("Retention", "Teacher", "Architecture", "Training", "Serving", "Behaviour")

FIGURES: dict[str, Callable[[Mapping[str, pl.DataFrame], Layout], Figure]] = {
    "scores": lambda made, layout: figures.scores(made["scores"], layout),
    "methods": lambda made, layout: figures.methods(made["scores"], tables.best_students(made["scores"]), layout),
    "ranks": lambda made, layout: figures.ranks(made["ranks"], layout),
    "retention": lambda made, layout: figures.retention(made["scores"], layout),
    "time": lambda made, layout: figures.time(made["scores"], layout),
    "pareto": lambda made, layout: figures.pareto(made["pareto"], layout),
    "agreement": lambda made, layout: figures.agreement(_with_sizes(made["behaviour"], made["scores"]), layout),
    "reliability": lambda made, layout: figures.reliability(
        made["reliability"], tables.best_students(made["scores"]), layout
    ),
}


def run(job: Job, folder: Path) -> dict[str, Any]:
    """Write ``tables/``, ``figures/`` and ``index.html``.

    The spec names the study, its tasks (kind, metric and classes), its students (whether they are recurrent), its
    teachers ``[task, teacher]`` and its cells ``[task, teacher, student, method, seed]``. Raises ``CodekdError`` for
    results that are missing, unreadable or not comparable.
    """
    if not job.spec["cells"]:
        raise CodekdError(f"{job.name}: the study has no cells; give its grid at least one student and method.")
    tasks = read_tasks(job)
    resampled = [resample(task) for task in tasks]
    made = _tables(job, tasks, resampled)
    _write_tables(made, folder / "tables")
    _write_figures(made, folder / "figures")
    (folder / "index.html").write_text(_page(job, folder, tasks, resampled, made), encoding="utf-8")
    return {"cells": len(made["cells"]), "tasks": len(tasks)}


def _tables(job: Job, tasks: Sequence[Task], resampled: Sequence[Resampled]) -> dict[str, pl.DataFrame]:
    scores, references, served = tables.scores(resampled), tables.references(resampled), serving.inference(job)
    recurrent = {name: student["recurrent"] for name, student in job.spec["students"].items()}
    return {
        "cells": _with_links(tables.cells(tasks), job),
        "scores": scores,
        "methods": tables.methods(resampled, scores),
        "ranks": tables.ranks(scores),
        "references": references,
        "teachers": questions.teachers(resampled),
        "architectures": questions.architectures(resampled, recurrent),
        "costs": questions.costs(scores, resampled, job),
        "inference": served,
        "pareto": serving.pareto(scores, references, served),
        "types": tables.types(resampled),
        "behaviour": breakdown.behaviour(resampled),
        "reliability": breakdown.reliabilities(resampled),
        "classes": breakdown.classes(resampled),
        "lengths": breakdown.lengths(resampled),
        "unlearned": breakdown.unlearned(resampled),
        "published": published(scores, references, job),
    }


def _page(
    job: Job,
    folder: Path,
    tasks: Sequence[Task],
    resampled: Sequence[Resampled],
    made: Mapping[str, pl.DataFrame],
) -> str:
    scores, methods = made["scores"], made["methods"]
    effectiveness = [*findings.above_floors(made["references"]), *findings.headlines(methods)]
    answers = {
        "best_students": findings.best_students(scores),
        "teachers": findings.teachers(made["teachers"]),
        "architectures": findings.architectures(made["architectures"]),
        "training": practice.training(made["costs"]),
        "inference": practice.inference(made["pareto"], scores),
        "behaviour": practice.behaviour(made["behaviour"], scores),
    }
    return page.render(
        made,
        {name: page.inline_svg((folder / "figures" / f"{name}.svg").read_text(), name) for name in FIGURES},
        tables.best_students(scores),
        study=job.spec["study"],
        summary=findings.summary(tasks),
        effectiveness=effectiveness,
        headlines={"Effect": effectiveness, **dict(zip(HEADLINES, answers.values(), strict=True))},
        friedman=findings.friedman(made["ranks"]),
        limits=findings.limits(resampled),
        unlearned=findings.unlearned(made["unlearned"], {task.name: len(task.labels) for task in tasks}),
        sources=_sources(job),
        **answers,
    )


def _write_tables(made: dict[str, pl.DataFrame], folder: Path) -> None:
    folder.mkdir()
    for name, table in made.items():
        table.write_csv(folder / f"{name}.csv")
        table.write_parquet(folder / f"{name}.parquet")


def _write_figures(made: Mapping[str, pl.DataFrame], folder: Path) -> None:
    folder.mkdir()
    for name, draw in FIGURES.items():
        style.save(partial(draw, made), folder / name)


def _with_sizes(table: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """The rows of students, with their numbers of parameters."""
    return table.join(scores.select(*tables.NAMES, "parameters"), on=tables.NAMES, maintain_order="left")


def _with_links(cells: pl.DataFrame, job: Job) -> pl.DataFrame:
    """The rows of trainings, with their identities and where their folders lie as seen from the report's."""
    places = _places(job)
    columns = [cells[name].cast(pl.String) for name in ("task", "teacher", "student", "method", "seed")]
    own = [places["/".join(("students", *key))] for key in zip(*columns, strict=True)]
    return cells.with_columns(**{name: pl.Series([one[name] for one in own]) for name in ("identity", "link")})


def _sources(job: Job) -> dict[str, list[Row]]:
    """The folders read but for the students', by stage."""
    stages: dict[str, list[Row]] = {}
    for role, place in sorted(_places(job).items()):
        if (stage := role.split("/")[0]) != "students":
            stages.setdefault(stage, []).append(place)
    return stages


def _places(job: Job) -> dict[str, Row]:
    """Of every folder read its path, the way there, and its identity.

    The report's own folder is as deep in the results as it has coordinates.
    """
    results = os.path.commonpath(job.parents.values())
    up = "/".join([".."] * (len(job.coordinates) + 1))
    places = {}
    for role, folder in job.parents.items():
        path = folder.relative_to(results).as_posix()
        identity = json.loads((folder / "manifest.json").read_text())["identity"]
        places[role] = {"path": path, "link": f"{up}/{path}", "identity": identity}
    return places
