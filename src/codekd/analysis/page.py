"""The report as one self-contained HTML page: columns and formats of its tables, and the rendering of its template."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from codekd.analysis import style
from codekd.analysis.behaviour import MAX_CONFIDENCE_GAP, MAX_DIVERGENCE
from codekd.analysis.findings import distinguishable, estimate
from codekd.analysis.numbers import duration, metric_name, p, percent, points, ratio, share, size
from codekd.analysis.results import NO_TEACHER
from codekd.analysis.tables import TAUGHT, TEACHER
from codekd.analysis.variance import FEWEST_GROUPS

Row = dict[str, Any]
NOTHING = "–"


@dataclass(frozen=True)
class Column:
    """A column of a table on the page.

    Attributes:
        title: heading of the column.
        cell: the text of a row's cell.
        text: whether cells are aligned left, as words are.
        sure: whether a row's cell is bold, as significant differences are.
    """

    title: str
    cell: Callable[[Row], str]
    text: bool = False
    sure: Callable[[Row], bool] = lambda _: False


@dataclass(frozen=True)
class Part:
    """One table of the page, or one part of a table that is cut by task and teacher."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]


def name(title: str, key: str) -> Column:
    """A column of names, the texts in the rows' ``key``, with a dash for an empty one."""
    return Column(title, lambda row: str(row[key] or NOTHING), text=True)


def number(title: str, key: str, write: Callable[[Any], str] = str) -> Column:
    """A column of the numbers in the rows' ``key``, formatted by ``write``, with a dash for null."""
    return Column(title, lambda row: NOTHING if row[key] is None else write(row[key]))


def estimated(title: str, key: str, write: Callable[[float], str], corrected: str | None = None) -> Column:
    """A column of the numbers in the rows' ``key`` with their intervals, bold where they are significant.

    Args:
        title: heading of the column.
        key: the rows' key of the number.
        write: formatter of a number.
        corrected: the rows' key of the corrected p-value; None for a column without bold cells.
    """

    def sure(row: Row) -> bool:
        return corrected is not None and distinguishable(row, corrected)

    return Column(title, lambda row: estimate(row, key, write), sure=sure)


def served(row: Row) -> str:
    """Display name of a model in the table of serving times."""
    return f"{row['name']}, with its teacher's head" if row["reused_head"] else str(row["name"])


def milliseconds(row: Row) -> str:
    """Median serving time with its quartiles, in milliseconds: ``2.3 [2.1, 2.9]``."""
    return "{milliseconds:.1f} [{milliseconds_low:.1f}, {milliseconds_high:.1f}]".format_map(row)


def decimals(places: int, unit: float = 1) -> Callable[[float], str]:
    """A formatter of numbers divided by ``unit``, with ``places`` decimals."""
    return lambda value: f"{value / unit:,.{places}f}"


TASK, STUDENT, METHOD = name("Task", "task"), name("Student", "student"), name("Method", "method")
METRIC = Column("Metric", lambda row: metric_name(row["metric"]), text=True)
P, CORRECTED = number("p", "p_value", p), number("corrected", "p_corrected", p)
DIFFERENCE = estimated("Difference", "difference", points, "p_corrected")

REFERENCE_NAMES = {"floor": "n-grams", TAUGHT: "n-grams, taught by {name}", "teacher": "teacher {name}"}
"""Display names of the models that students are compared with, by kind."""

COLUMNS: dict[str, tuple[Column, ...]] = {
    "methods": (
        *(TASK, name("Teacher", "teacher"), METHOD, DIFFERENCE, P, CORRECTED),
        *(number("Students", "students"), number("Above", "above"), number("Below", "below")),
    ),
    "pairs": (
        *(TASK, name("Teacher", "teacher"), METHOD, name("against", "other"), number("Students", "students")),
        *(DIFFERENCE, P, CORRECTED),
    ),
    "references": (
        TASK,
        Column("Model", lambda row: REFERENCE_NAMES[row["kind"]].format_map(row), text=True),
        number("Parameters", "parameters", size),
        METRIC,
        estimated("Test score, %", "score", percent),
        estimated("Points above floor", "above_floor", points),
    ),
    "teachers": (
        *(TASK, METHOD, name("Students of", "teacher"), name("against those of", "other")),
        *(number("Students", "students"), estimated("Difference", "difference", points)),
        *(number("First teacher, %", "teacher_score", percent), number("second, %", "other_score", percent)),
    ),
    "architectures": (
        *(TASK, name("Teacher", "teacher"), METHOD, name("Transformer", "student"), name("Recurrent", "other")),
        *(number("Parameters", "parameters", size), DIFFERENCE, CORRECTED),
        estimated("Difference of gains", "gain", points, "gain_p_corrected"),
        number("corrected", "gain_p_corrected", p),
    ),
    "tests": (
        *(TASK, number("Test examples", "examples", decimals(0)), number("Groups", "groups", decimals(0))),
        *(name("Largest", "largest_group"), number("its share, %", "largest_share", percent)),
        Column("Sampled", lambda row: f"{row['units']:,} {row['unit']}s", text=True),
        name("Classes without one", "lacking"),
    ),
    "costs": (
        *(
            STUDENT,
            number("Parameters", "parameters", size),
            METHOD,
            number("Seconds", "seconds", duration),
            number("of ft", "relative", ratio),
        ),
        *(number("per example", "per_example", ratio), number("Teacher online", "online_seconds", duration)),
        *(number("of ft", "online_relative", ratio), number("kJ", "joules", decimals(1, 1e3))),
        *(number("of ft", "relative_joules", ratio), number("Start, once", "start_seconds", duration)),
    ),
    "inference": (
        Column("Model", served, text=True),
        Column("Runtime", lambda row: f"{row['runtime']}, {row['precision']}, {row['device']}", text=True),
        *(number("Batch", "batch"), Column("ms", milliseconds)),
        *(number("tokenizer, ms", "tokenizer_milliseconds", decimals(2)), number("times as fast", "speed_up", ratio)),
        number("teacher, ms", "teacher_milliseconds", decimals(1)),
        Column("Machine", lambda row: "busy" if row["busy"] else NOTHING, text=True),
        *(number("Parameters", "parameters", size), number("MB", "bytes", decimals(1, 1e6))),
        number("MFLOPs", "flops", decimals(0, 1e6)),
        number("Memory, MB", "peak_bytes", decimals(0, 1e6)),
    ),
    "behaviour": (
        *(
            STUDENT,
            number("Parameters", "parameters", size),
            METHOD,
            number("Agreement, %", "agreement", share),
            number("KL, nats", "kl", decimals(3)),
        ),
        *(number("Class", "other_class", share), number("Distribution", "other_distribution", share)),
        *(number("Confidence", "other_confidence", share), number("Any", "discrepancy", share)),
        *(number("ECE, %", "calibration_error", share), number("Brier", "brier", decimals(3))),
        *(number("Disputed", "disputed", share), number("right", "disputed_score", share)),
        *(number("fine-tuned", "disputed_plain", share), number("teacher", "disputed_teacher", share)),
    ),
    "published": (
        *(TASK, STUDENT, METHOD, METRIC, estimated("Here, %", "score", percent)),
        number("Published, %", "published", percent),
        Column("Difference", lambda row: points(row["score"] - row["published"])),
    ),
    "scores": (
        STUDENT,
        number("Parameters", "parameters", size),
        number("% of teacher", "share_of_teacher", percent),
        *(METHOD, number("Seeds", "seeds"), estimated("Test score, %", "score", percent)),
        *(number("SD", "std", percent), DIFFERENCE, CORRECTED),
        estimated("Against n-grams", "above_floor", points, "floor_p_corrected"),
        estimated("Retention, %", "retention", percent),
    ),
}
BY: dict[str, tuple[str, ...]] = dict.fromkeys(("costs", "behaviour", "scores", "inference"), ("task", "teacher"))
"""Columns by which a table is cut into parts; the caption of each part names their values."""

PIVOTED = {
    "classes": ("Class", lambda row: row["class"], "f1", "F1 of every class, %"),
    "lengths": (
        "Characters",
        lambda row: f"{row['from_characters']} to {row['to_characters']}",
        "accuracy",
        "accuracy by characters of code, %",
    ),
    "types": ("Type", lambda row: row["type"], "f1", "F1 of every type of pair, %"),
}
"""Tables with a column a model: title and cell of the first column, the column of the numbers, and the caption."""


def render(
    made: Mapping[str, pl.DataFrame], figures: Mapping[str, Markup], best: Mapping[str, str], **content: Any
) -> str:
    """The report's page as HTML.

    Args:
        made: the study's tables, by name.
        figures: the study's figures as SVG, by name.
        best: the student shown in the tables of classes, lengths and types, by task.
        content: the other variables of ``page.html.j2``.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"MAX_DIVERGENCE": MAX_DIVERGENCE, "MAX_CONFIDENCE_GAP": MAX_CONFIDENCE_GAP}
    environment.globals |= {"percent": percent, "FEWEST_GROUPS": FEWEST_GROUPS}
    tables = {name: list(_parts(name, made[name])) for name in COLUMNS}
    tables |= {name: list(_pivoted(name, made[name], best)) for name in PIVOTED}
    return environment.get_template("page.html.j2").render(
        content,
        figures=figures,
        tables=tables,
        cells=_cells(made["cells"]),
        files={name: len(table) for name, table in made.items()},
        datatables_js=_library("js"),
        datatables_css=_library("css"),
    )


def _cells(table: pl.DataFrame) -> Part:
    """The table of all training runs, for sorting and filtering; its rows have ``link`` and ``identity``, too."""
    names = [name(key.capitalize(), key) for key in ("task", "teacher", "student", "method")]
    chosen = [
        Column("Seed", lambda row: str(row["seed"]), text=True),
        *(number(f"{split.capitalize()}, %", f"{split}_score", percent) for split in ("test", "valid")),
        number("Best epoch", "best_epoch"),
        number("Against n-grams", "above_floor", points),
        number("Seconds", "train_seconds", decimals(0)),
        number("Parameters", "parameters", decimals(0)),
    ]
    return Part("", (*names, *chosen), list(table.iter_rows(named=True)))


def inline_svg(svg: str, name: str) -> Markup:
    """A figure's SVG for inclusion in a page, with the page's colours and with ids prefixed by ``name``.

    Args:
        svg: content of an SVG file.
        name: the figure's name, unique on the page.
    """
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


def _parts(table: str, frame: pl.DataFrame) -> Iterator[Part]:
    if not (by := BY.get(table)):
        if len(frame):
            yield _part("", COLUMNS[table], frame)
        return
    for keys, rows in frame.group_by(*by, maintain_order=True):
        yield _part(_caption(keys), COLUMNS[table], rows)


def _part(caption: str, columns: Sequence[Column], frame: pl.DataFrame) -> Part:
    """A part without the columns that are empty in all rows."""
    rows = list(frame.iter_rows(named=True))
    return Part(caption, [one for one in columns if any(one.cell(row) != NOTHING for row in rows)], rows)


def _pivoted(table: str, frame: pl.DataFrame, best: Mapping[str, str]) -> Iterator[Part]:
    """Parts of a table with a column a model, for the best student of every task and for its teachers."""
    title, first, value, caption = PIVOTED[table]
    for keys, rows in frame.group_by("task", "teacher", maintain_order=True):
        lines: dict[str, Row] = {}
        for row in rows.filter(pl.col("student").is_in(["", best[str(keys[0])]])).iter_rows(named=True):
            line = lines.setdefault(first(row), {"name": first(row), "examples": row["examples"]})
            line[row["method"]] = row[value]
        methods = list(dict.fromkeys(key for line in lines.values() for key in line if key not in ("name", "examples")))
        columns = [number(method, method, percent) for method in methods]
        student = "" if methods in ([], [TEACHER]) else f", {best[str(keys[0])]}"
        first_columns = name(title, "name"), number("Examples", "examples")
        yield Part(f"{_caption(keys)}{student}: {caption}", (*first_columns, *columns), list(lines.values()))


def _caption(keys: Sequence[object]) -> str:
    task, *teachers = map(str, keys)
    return ", ".join([task, *(f"teacher {teacher}" for teacher in teachers if teacher != NO_TEACHER)])


def _library(suffix: str) -> Markup:
    """Source of DataTables, from the bundle in the package itables."""
    text = (resources.files("itables") / "html" / f"dt_bundle.{suffix}").read_text(encoding="utf-8")
    if "</s" in text.lower():  # a closing tag would end the element around the source
        text = re.sub("</(?=s)", r"<\\/", text, flags=re.IGNORECASE)
    return Markup(text)  # noqa: S704 - source of a library
