"""Stage ``report``: a study's tables, figures and HTML page, made from its trained nodes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from matplotlib.figure import Figure

from codekd.analysis import breakdown, figures, findings, overview, page, practice, questions, serving, style, tables
from codekd.analysis.estimates import Estimates, estimate
from codekd.analysis.provenance import Made, made_on, mixed
from codekd.analysis.published import published
from codekd.analysis.results import Task, read_tasks
from codekd.analysis.style import Layout
from codekd.errors import CodekdError

if TYPE_CHECKING:
    from codekd.study.job import Job

Row = dict[str, Any]

FIGURES: dict[str, Callable[[Mapping[str, pl.DataFrame], Layout], Figure]] = {
    "scores": lambda made, layout: figures.scores(made["scores"], layout),
    "methods": lambda made, layout: figures.methods(made["scores"], tables.best_students(made["scores"]), layout),
    "ranks": lambda made, layout: figures.ranks(made["ranks"], layout),
    "retention": lambda made, layout: figures.retention(made["scores"], layout),
    "time": lambda made, layout: figures.time(made["scores"], layout),
    "pareto": lambda made, layout: figures.pareto(made["pareto"], "milliseconds", layout),
    "size": lambda made, layout: figures.pareto(made["pareto"], "megabytes", layout),
    "agreement": lambda made, layout: figures.agreement(made["behaviour"], layout),
    "reliability": lambda made, layout: figures.reliability(
        made["reliability"], tables.best_students(made["scores"]), layout
    ),
}


def run(job: Job, folder: Path) -> dict[str, Any]:
    """Write a study's report: ``tables/``, ``figures/`` and ``index.html``.

    The spec names the study, its tasks (kind, metric and classes), its students (whether they are recurrent), its
    controls (methods that do not count as ways to distil), the methods whose students reuse their teacher's head, its
    teachers ``[task, teacher]`` and its cells ``[task, teacher, student, method, seed]``.

    Returns:
        The numbers of cells and tasks.

    Raises:
        CodekdError: the study has no cells, or results are missing, unreadable or not comparable.
    """
    if not job.spec["cells"]:
        raise CodekdError(f"{job.name}: the study has no cells; give its grid at least one student and method.")
    tasks = read_tasks(job)
    estimates = [estimate(task) for task in tasks]
    places = _places(job)
    made = _tables(job, places, tasks, estimates)
    _write_tables(made, folder / "tables")
    _write_figures(made, folder / "figures")
    text = _page(job, folder, tasks, estimates, made, _by_stage(places))
    (folder / "index.html").write_text(text, encoding="utf-8")
    return {"cells": len(made["cells"]), "tasks": len(tasks)}


def _tables(
    job: Job, places: Mapping[str, Row], tasks: Sequence[Task], estimates: Sequence[Estimates]
) -> dict[str, pl.DataFrame]:
    scores, references, served = tables.scores(estimates), tables.references(estimates), serving.inference(job)
    controls = job.spec.get("controls", ())
    recurrent = {name: student["recurrent"] for name, student in job.spec["students"].items()}
    return {
        "cells": _with_links(tables.cells(tasks), places),
        "scores": scores,
        "methods": tables.methods(estimates, scores, controls),
        "pairs": questions.pairs(estimates),
        "ranks": tables.ranks(scores, controls),
        "references": references,
        "tests": tables.tests(estimates),
        "teachers": questions.teachers(estimates, controls),
        "architectures": questions.architectures(estimates, recurrent, controls),
        "costs": questions.costs(scores, estimates, job),
        "inference": served,
        "pareto": serving.pareto(scores, references, served, job.spec["reuse_head"]),
        "types": tables.types(estimates),
        "behaviour": _with_sizes(breakdown.behaviour(estimates), scores),
        "reliability": breakdown.reliabilities(estimates),
        "classes": breakdown.classes(estimates),
        "lengths": breakdown.lengths(estimates),
        "unlearned": breakdown.unlearned(estimates),
        "published": published(scores, references, job),
    }


def _page(
    job: Job,
    folder: Path,
    tasks: Sequence[Task],
    estimates: Sequence[Estimates],
    made: Mapping[str, pl.DataFrame],
    sources: Mapping[str, Sequence[Row]],
) -> str:
    scores, controls = made["scores"], job.spec.get("controls", ())
    evidence = {
        "effect": [
            *findings.headlines(made["methods"], scores),
            *findings.best_methods(made["pairs"], scores, controls),
        ],
        "floors": findings.above_floors(made["references"]),
        "retention": findings.best_students(scores),
        "teachers": findings.teachers(made["teachers"]),
        "architectures": findings.architectures(made["architectures"]),
        "training": practice.training(made["costs"]),
        "serving": [*practice.inference(made["pareto"], scores), *practice.without_onnx(made["inference"])],
        "behaviour": practice.behaviour(made["behaviour"], scores, controls),
    }
    return page.render(
        made,
        {name: page.inline_svg((folder / "figures" / f"{name}.svg").read_text(), name) for name in FIGURES},
        tables.best_students(scores),
        study=job.spec["study"],
        summary=findings.summary(tasks),
        verdicts=overview.verdicts(scores, made["pareto"]),
        caveats=overview.caveats(made["tests"], scores, made["pareto"], _mixed(tasks), _mixed_times(job)),
        in_short=overview.in_short(made),
        sampled=made["tests"]["unit"].to_list(),
        several_seeds=made["scores"]["seeds"].min() != 1,
        evidence=evidence,
        taught=any(task.taught for task in tasks),
        friedman=findings.friedman(made["ranks"]),
        limits=findings.limits(estimates),
        unlearned=findings.unlearned(made["unlearned"], {task.name: len(task.labels) for task in tasks}),
        sources=sources,
    )


def _mixed(tasks: Sequence[Task]) -> list[str]:
    """Sentences about machines that differ within the runs of a student and its teachers on a task."""
    students: dict[str, dict[Path, Made]] = {}
    beside: dict[str, dict[Path, Made]] = {}
    for task in tasks:
        for cell in task.cells:
            name = f"{task.name} {cell.student}"
            students.setdefault(name, {})[cell.run.folder] = cell.run.made
            beside[name] = {run.folder: run.made for run in task.teachers.values()}
    return mixed(students, {name: own | beside[name] for name, own in students.items()})


def _mixed_times(job: Job) -> list[str]:
    """Sentences about machines that differ within a task's measurements of serving."""
    measured: dict[str, dict[Path, Made]] = {}
    for role, folder in job.parents.items():
        if role.startswith("inference/"):
            measured.setdefault(role.split("/")[1], {})[folder] = made_on(folder)
    return mixed({}, measured)


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
    """A table of models with the students' parameters and their share of the teacher's parameters."""
    sizes = scores.select(*tables.NAMES, "parameters", "share_of_teacher")
    return table.join(sizes, on=tables.NAMES, how="left", maintain_order="left")


def _with_links(cells: pl.DataFrame, places: Mapping[str, Row]) -> pl.DataFrame:
    """The table of training runs with each one's identity and the relative link from the report to its folder."""
    columns = [cells[name].cast(pl.String) for name in ("task", "teacher", "student", "method", "seed")]
    own = [places["/".join(("students", *key))] for key in zip(*columns, strict=True)]
    return cells.with_columns(**{name: pl.Series([one[name] for one in own]) for name in ("identity", "link")})


def _by_stage(places: Mapping[str, Row]) -> dict[str, list[Row]]:
    """Places of all folders that were read except the students', by stage."""
    stages: dict[str, list[Row]] = {}
    for role, place in sorted(places.items()):
        if (stage := role.split("/")[0]) != "students":
            stages.setdefault(stage, []).append(place)
    return stages


def _places(job: Job) -> dict[str, Row]:
    """Path within the results, relative link from the report, and identity of every folder that was read, by role.

    The report's own folder is as deep in the results as it has coordinates, which gives the way up.
    """
    results = os.path.commonpath(job.parents.values())
    up = "/".join([".."] * (len(job.coordinates) + 1))
    places = {}
    for role, folder in job.parents.items():
        path = folder.relative_to(results).as_posix()
        identity = json.loads((folder / "manifest.json").read_text())["identity"]
        places[role] = {"path": path, "link": f"{up}/{path}", "identity": identity}
    return places
