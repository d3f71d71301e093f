"""Figures of a report, drawn from its tables.

Every figure has a panel for each task and a row of panels for each teacher; :func:`ranks` has one panel a teacher. A
figure without data is a note that says what is missing. ``table`` is a table of the report, and ``layout`` the size of
the figure.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
import polars as pl
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from codekd.analysis import style
from codekd.analysis.numbers import metric_name, percent, size
from codekd.analysis.style import PAGE, Layout
from codekd.analysis.tables import REFERENCE, TEACHER

PANEL_WIDTH, PANEL_HEIGHT, LETTER = 2.9, 2.4, 0.085  # inches: a panel without the names at its axes, a letter of a name
SMALL = "small"
COSTS = {
    "milliseconds": ("on_front", "time for one example on one CPU thread", "ms"),
    "megabytes": ("on_front_of_size", "size of the file", "MB"),
}
"""Costs of serving, as columns of the ``pareto`` table: the column that marks the front, axis label, and unit."""

TURN_FROM = 3  # names of so many students or more do not fit side by side
TURNED: dict[str, Any] = {"rotation": 50, "ha": "right", "rotation_mode": "anchor"}
NO_RETENTION = "No teacher to compare with: this study has no retention."


def scores(table: pl.DataFrame, layout: Layout = PAGE) -> Figure:
    """Test scores with 95 % intervals of every student and method, with lines at the teacher's and the floors' scores.

    Drawn from the ``scores`` table.
    """
    methods = _in_order(table, "method")
    figure, panels = _panels(layout, table, _height_of_students(table, methods))
    for axes, rows in panels:
        students = _student_axis(axes, rows)
        for method, own in _by_method(rows):
            _estimates(axes, own, "score", _lanes(own["student"], students) + _dodge(method, methods))
        axes.margins(x=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.set_xlabel(f"test {metric_name(rows['metric'][0])}, %")
        _marked_line(axes, layout, "teacher", rows["teacher_score"][0], "-", line=1)
        _marked_line(axes, layout, "n-gram floor", rows["floor"][0], (0, (4, 2)), line=0)
        if rows["taught_floor"][0] is not None:
            _marked_line(axes, layout, "n-grams, taught", rows["taught_floor"][0], (0, (1, 2)), line=2)
        _below_floor(axes, rows["floor"][0])
    _legend(figure, layout, methods)
    return figure


def retention(table: pl.DataFrame, layout: Layout = PAGE) -> Figure:
    """Share of the teacher's score that every student and method keeps, against the student's parameters.

    Drawn from the ``scores`` table.
    """
    rows_with_teacher = table.drop_nulls("retention")
    if rows_with_teacher.is_empty():
        return _note(NO_RETENTION)
    methods = _in_order(table, "method")
    figure, panels = _panels(layout, rows_with_teacher, _height_above_students(rows_with_teacher))
    for axes, rows in panels:
        lanes, width = _parameter_axis(axes, rows)
        for method, own in _by_method(rows):
            _estimates(
                axes, own, "retention", _lanes(own["student"], lanes) + width * _dodge(method, methods), upright=True
            )
        axes.axhline(100, color=style.INK, linewidth=1)
        axes.set_ylabel("share of teacher's score, %")
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.grid(axis="y")
    _legend(figure, layout, methods)
    return figure


def methods(table: pl.DataFrame, student: Mapping[str, str], layout: Layout = PAGE) -> Figure:
    """Share of the teacher's score that every method keeps with one student a task, against plain fine-tuning's.

    Args:
        table: the ``scores`` table.
        student: the student to show, by task.
    """
    chosen = pl.col("student") == pl.col("task").replace_strict(student)
    rows_with_teacher = table.filter(chosen).drop_nulls("retention")
    if rows_with_teacher.is_empty():
        return _note(NO_RETENTION)
    names = _in_order(rows_with_teacher, "method")
    height = 1.2 + 0.19 * len(names)
    figure, panels = _panels(layout, rows_with_teacher, height, letters=max(map(len, names)))
    for axes, rows in panels:
        positions = _name_axis(axes, names)
        for method, own in _by_method(rows):
            _estimates(axes, own, "retention", np.array([positions[method]]))
            if method == REFERENCE:
                axes.axvline(100 * own["retention"][0], color=style.look(REFERENCE).colour, linewidth=1)
        axes.axvline(100, color=style.INK, linewidth=1)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.set_xlabel(f"share of teacher's score, % ({rows['student'][0]})")
    return figure


def time(table: pl.DataFrame, layout: Layout = PAGE) -> Figure:
    """Training time as a multiple of plain fine-tuning's, in total (filled) and per example seen (hollow).

    Drawn from the ``scores`` table.
    """
    compared = table.drop_nulls("relative_seconds").filter(pl.col("method") != REFERENCE)
    if compared.is_empty():
        return _note("No method beside plain fine-tuning of the same student: no times to compare.")
    methods = _in_order(compared, "method")
    figure, panels = _panels(layout, compared, _height_of_students(compared, methods))
    for axes, rows in panels:
        students = _student_axis(axes, rows)
        for method, own in _by_method(rows):
            y = _lanes(own["student"], students) + _dodge(method, methods)
            total, per_example = own["relative_seconds"], own["relative_seconds_per_example"]
            axes.hlines(y, per_example, total, color=style.look(method).colour, linewidth=1)
            _points(axes, total, y, method)
            _points(axes, per_example, y, method, **_hollow())
        _ratio_axis(axes)
        axes.axvline(1, color=style.INK, linewidth=1)
        axes.set_xlabel(f"training time, {REFERENCE} = 1")
    in_total = _key("in total", style.Look(style.MUTED, "o"))
    per_example_seen = _key("per example seen", style.Look(style.MUTED, "o"), **_hollow())
    _legend(figure, layout, methods, in_total, per_example_seen)
    return figure


def ranks(table: pl.DataFrame, layout: Layout = PAGE) -> Figure:
    """Average ranks of the methods over tasks, with half a critical difference on both sides.

    Methods whose lines overlap are not distinguishable. Ranks of one seed have no critical difference, and no lines.

    Drawn from the ``ranks`` table.
    """
    if table.is_empty():
        return _note("Ranks need three methods on two tasks at least.")
    teachers = _in_order(table, "teacher")
    names = max(map(len, table["method"]))
    height = 1.0 + 0.24 * table["method"].n_unique()
    width = layout.width or PANEL_WIDTH + 2 + LETTER * names
    figure = Figure((width, height * layout.scale * len(teachers)), layout="constrained")
    for axes, teacher in zip(figure.subplots(len(teachers), squeeze=False)[:, 0], teachers, strict=True):
        rows = table.filter(teacher=teacher)
        positions = _name_axis(axes, rows["method"].to_list())
        for row in rows.iter_rows(named=True):
            y, reach = positions[row["method"]], (row["critical_difference"] or 0) / 2
            colour = style.look(row["method"]).colour
            axes.plot([row["rank"] - reach, row["rank"] + reach], [y, y], color=colour)
            _points(axes, row["rank"], y, row["method"])
        if len(teachers) > 1:
            axes.set_title(teacher, loc="left")
        axes.set_xlim(left=min(0.7, axes.get_xlim()[0]))
        axes.set_xlabel(f"average rank over {rows['blocks'][0]} tasks, 1 the best")
    return figure


def agreement(table: pl.DataFrame, layout: Layout = PAGE) -> Figure:
    """Share of the test examples on which a student's prediction is its teacher's.

    Drawn from the ``behaviour`` table, with the students' sizes.
    """
    compared = table.drop_nulls("agreement")
    if compared.is_empty():
        return _note("No teacher's predictions to agree with.")
    methods = _in_order(compared, "method")
    figure, panels = _panels(layout, compared, _height_of_students(compared, methods))
    for axes, rows in panels:
        students = _student_axis(axes, rows)
        for method, own in _by_method(rows):
            _points(axes, 100 * own["agreement"], _lanes(own["student"], students) + _dodge(method, methods), method)
        axes.margins(x=0.08)
        axes.set_xlabel("agreement with the teacher, %")
    _legend(figure, layout, methods)
    return figure


def reliability(table: pl.DataFrame, student: Mapping[str, str], layout: Layout = PAGE) -> Figure:
    """Reliability diagrams, accuracy against confidence, of the teacher and one student a task; the diagonal is ideal.

    Args:
        table: the ``reliability`` table.
        student: the student to show, by task.
    """
    if table.is_empty():
        return _note("No logits, so no confidence.")
    shown = table.filter(
        (pl.col("student") == "") | (pl.col("student") == pl.col("task").replace_strict(student, default=""))
    )
    methods = [name for name in _in_order(shown, "method") if name != TEACHER]
    figure, panels = _panels(layout, shown, PANEL_HEIGHT + 0.6)
    for axes, rows in panels:
        axes.plot([0, 100], [0, 100], color=style.GRID, linewidth=1, zorder=0)
        for method, line in _by_method(rows):
            look = style.Look(style.INK, "") if method == TEACHER else style.look(method)
            axes.plot(100 * line["confidence"], 100 * line["accuracy"], color=look.colour, marker=look.marker)
        low = 100 * rows["confidence"].to_numpy().min() - 3
        axes.set(xlim=(low, 102), ylim=(min(low, 100 * rows["accuracy"].to_numpy().min() - 3), 102))
        axes.set_xlabel(f"confidence, % ({student[rows['task'][0]]})")
        axes.set_ylabel("accuracy, %")
    _legend(figure, layout, methods, _key("teacher", style.Look(style.INK, ""), linestyle="-"))
    return figure


def pareto(table: pl.DataFrame, cost: str, layout: Layout = PAGE) -> Figure:
    """Test score of every student, method and teacher against a cost of serving, with the Pareto front as a line.

    Args:
        table: the ``pareto`` table.
        cost: a key of :data:`COSTS`.
    """
    if table.is_empty():
        return _note("No times were measured: set `inference: true` in the config.")
    front_of, label, unit = COSTS[cost]
    methods = [name for name in _in_order(table, "method") if name != TEACHER]
    student = pl.when("reused_head").then(pl.col("student") + " + head").otherwise("student")
    shown = table.with_columns(pl.when(pl.col("student") == "").then("teacher").otherwise(student).alias("name"))
    figure, panels = _panels(layout, shown, _height_above_students(shown) + 0.5)
    star = {"marker": "*", "color": style.INK, "markersize": 1.6 * rcParams["lines.markersize"]}
    for axes, rows in panels:
        costs = rows.unique("name", maintain_order=True).sort(cost, "name")
        lanes, _ = _cost_axis(axes, costs["name"], costs[cost], [f"{value:.3g} {unit}" for value in costs[cost]])
        front = rows.filter(front_of).sort(cost)
        axes.plot(_lanes(front["name"], lanes), 100 * front["score"], color=style.GRID, linewidth=2.2, zorder=1)
        for method, own in _by_method(rows):
            how = star if method == TEACHER else {}
            _points(axes, _lanes(own["name"], lanes), 100 * own["score"], method, **how)
        _below_floor(axes, next(iter(rows["floor"].drop_nulls()), None), "y")
        busy = cost == "milliseconds" and rows["busy"].any()
        axes.set_xlabel(f"{label},\nCPU time of a busy machine" if busy else label)
        axes.set_ylabel(f"test {metric_name(rows['metric'][0])}, %")
        axes.grid(axis="y")
    _legend(figure, layout, methods, _key("teacher", style.Look(style.INK, "*")))
    return figure


def _panels(
    layout: Layout,
    table: pl.DataFrame,
    height: float,
    by: Sequence[str] = ("teacher",),
    letters: int | None = None,
) -> tuple[Figure, Iterator[tuple[Axes, pl.DataFrame]]]:
    """A figure with a panel a task for every combination of ``by``, and the axes and rows of each panel.

    Every combination begins a new row of panels. A panel's title is its task, and its teacher where there are several.
    ``letters`` is the length of the longest name on the y axis, by default that of a student.
    """
    tasks, groups = _in_order(table, "task"), list(table.select(by).unique(maintain_order=True).iter_rows(named=True))
    several = table["teacher"].n_unique() > 1
    titles = [group["teacher"] if several else "" for group in groups]
    width = max(PANEL_WIDTH + LETTER * (letters or _longest_name(table)), 0.6 + 1.3 * LETTER * max(map(len, titles)))
    across = min(layout.across or len(tasks), len(tasks))
    deep = math.ceil(len(tasks) / across)
    size = layout.width or width * max(across, 2), height * layout.scale * deep * len(groups) + 0.4
    figure = Figure(size, layout="constrained")
    grid = figure.subplots(deep * len(groups), across, squeeze=False).reshape(len(groups), -1)

    def panels() -> Iterator[tuple[Axes, pl.DataFrame]]:
        for group, title, places in zip(groups, titles, grid, strict=True):
            for task, axes in zip_longest(tasks, places):
                rows = table.filter(task=task, **group) if task else table.clear()
                if rows.is_empty():
                    axes.set_axis_off()
                    continue
                axes.set_title(f"{task}\n{title}" if title else task, loc="left")
                yield axes, rows

    return figure, panels()


def _in_order(table: pl.DataFrame, column: str) -> list[str]:
    return table[column].unique(maintain_order=True).to_list()


def _by_size(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.unique("student", maintain_order=True).sort("parameters", "student")


def _longest_name(table: pl.DataFrame) -> int:
    return max(map(len, table["student"]))


def _height_above_students(table: pl.DataFrame) -> float:
    students = table["student"].n_unique()
    names = 0.2 if students < TURN_FROM else 0.75 * LETTER * (_longest_name(table) + len(" (1.5M)"))
    return PANEL_HEIGHT + 0.1 * students + names


def _height_of_students(table: pl.DataFrame, methods: Sequence[str]) -> float:
    return max(PANEL_HEIGHT, 1.1 + table["student"].n_unique() * (0.15 + 0.12 * len(methods)))


def _dodge(method: str, methods: Sequence[str]) -> float:
    """Offset of a method within its student's lane of width 1: -0.36 for the first, 0.36 for the last."""
    return float(np.linspace(-0.36, 0.36, len(methods))[methods.index(method)]) if len(methods) > 1 else 0.0


def _by_method(rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    for (method,), own in rows.group_by("method", maintain_order=True):
        yield str(method), own


def _lanes(names: pl.Series, positions: Mapping[str, float]) -> NDArray[np.float64]:
    return np.array([positions[name] for name in names], dtype=float)


def _estimates(axes: Axes, rows: pl.DataFrame, name: str, places: NDArray[np.float64], upright: bool = False) -> None:
    """Draw a method's numbers in percent with their intervals, horizontally or ``upright``."""
    values, low, high = (100 * rows[f"{name}{end}"].cast(pl.Float64).to_numpy() for end in ("", "_low", "_high"))
    x, y, lines = (places, values, axes.vlines) if upright else (values, places, axes.hlines)
    lines(places, low, high, color=style.look(rows["method"][0]).colour, linewidth=rcParams["lines.linewidth"])
    _points(axes, x, y, rows["method"][0])


def _hollow() -> dict[str, Any]:
    """Look of a ring that is larger than a filled mark, so that it stays visible under one."""
    return {"markerfacecolor": style.PAPER, "markersize": 1.45 * rcParams["lines.markersize"], "zorder": 2.5}


def _points(axes: Axes, x: Any, y: Any, method: str, **how: Any) -> None:
    colour, marker = style.look(method)
    axes.plot(x, y, **{"color": colour, "marker": marker, "linestyle": "", "zorder": 3, **how})


def _student_axis(axes: Axes, rows: pl.DataFrame) -> dict[str, int]:
    """Lay out the y axis by students and their sizes, the largest on top, and return each student's position."""
    students = _by_size(rows).reverse()
    positions = _name_axis(axes, students["student"].to_list())
    counted = zip(students["student"], map(size, students["parameters"]), strict=True)
    axes.set_yticks(range(len(students)), [f"{name}\n({count})" for name, count in counted], fontsize=SMALL)
    return positions


def _name_axis(axes: Axes, names: Sequence[str]) -> dict[str, int]:
    """Lay out the y axis by names, the first on top, and return each name's position."""
    for position in range(0, len(names), 2):
        axes.axhspan(position - 0.5, position + 0.5, color=style.BAND, linewidth=0, zorder=0)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    return {name: position for position, name in enumerate(names)}


def _parameter_axis(axes: Axes, rows: pl.DataFrame) -> tuple[dict[str, float], float]:
    """Lay out the x axis by students' parameters, and return each student's position and the width of a lane."""
    students = _by_size(rows)
    return _cost_axis(axes, students["student"], students["parameters"], list(map(size, students["parameters"])))


def _cost_axis(axes: Axes, names: pl.Series, values: pl.Series, told: Sequence[str]) -> tuple[dict[str, float], float]:
    """Lay out the x axis by rising values on a log scale, labelled by name and value as in ``told``.

    Values too near to each other for their lanes are moved apart by the smallest shifts in the least-squares sense, by
    isotonic regression. Returns each name's position and the width of a lane.
    """
    exact = np.log10(values.to_numpy())
    lane = max(exact[-1] - exact[0], 0.5) / 9
    steps = lane * np.arange(len(exact))
    positions = IsotonicRegression().fit_transform(steps, exact - steps) + steps
    for position in positions:
        axes.axvspan(position - 0.46 * lane, position + 0.46 * lane, color=style.BAND, linewidth=0, zorder=0)
    between, turned = ("\n", {}) if len(names) < TURN_FROM else (" ", TURNED)
    labels = [f"{name}{between}({value})" for name, value in zip(names, told, strict=True)]
    axes.set_xticks(positions, labels, fontsize=SMALL, **turned)
    margin = max(0.8 * lane, 1.5 * lane - (positions[-1] - positions[0]) / 2)
    axes.set_xlim(positions[0] - margin, positions[-1] + margin)
    return dict(zip(names, positions, strict=True)), 0.9 * lane


def _ratio_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    low, high = min(low, 0.9), max(high, 1.6)
    steps = (1, 1.5, 2, 3, 5, 7) if high / low < 8 else (1, 2, 5)
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator([step * 10.0**power for power in range(-2, 4) for step in steps]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.xaxis.set_minor_locator(NullLocator())


def _marked_line(axes: Axes, layout: Layout, name: str, value: float | None, dashes: str | tuple, line: int) -> None:
    """Draw a vertical line with its name above the panel, on text line ``line``, so that two names never overlap."""
    axes.set_title(axes.get_title(loc="left"), loc="left", pad=(34 + 14 * max(0, line - 1)) * layout.scale)
    if value is None:
        return
    axes.axvline(100 * value, color=style.INK, linewidth=1.1, linestyle=dashes)
    low, high = axes.get_xlim()
    place = (100 * value - low) / (high - low)
    alignment, anchor = ("left", 0) if place < 0.3 else ("right", 1) if place > 0.7 else ("center", 0.5)
    axes.annotate(
        f"{name} {percent(value)}",
        (100 * value, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, (3 + 14 * line) * layout.scale),
        textcoords="offset points",
        ha=alignment,
        fontsize=SMALL,
        bbox={"facecolor": style.PAPER, "edgecolor": "none", "pad": 0.5},
        arrowprops={
            "arrowstyle": "-",
            "color": style.MUTED,
            "shrinkA": 0,
            "shrinkB": 0,
            "relpos": (anchor, 0),
        },
    )


def _below_floor(axes: Axes, floor: float | None, along: Literal["x", "y"] = "x") -> None:
    """Hatch the scores below the n-gram floor; scores are on the axis ``along``."""
    if floor is None:
        return
    limits, span = (axes.get_xlim(), axes.axvspan) if along == "x" else (axes.get_ylim(), axes.axhspan)
    if 100 * floor > limits[0]:
        top = min(100 * floor, limits[1])
        span(limits[0], top, facecolor="none", edgecolor=style.GRID, hatch="//", linewidth=0, zorder=0.5)
    axes.set(**{f"{along}lim": limits})


def _key(label: str, look: style.Look, **how: Any) -> Line2D:
    return Line2D([], [], **{"color": look.colour, "marker": look.marker, "linestyle": "", "label": label, **how})


def _legend(figure: Figure, layout: Layout, methods: Sequence[str], *more: Line2D) -> None:
    handles = [*(_key(method, style.look(method)) for method in methods), *more]
    columns = 8 if layout.across != 1 else 4
    figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), columns), handletextpad=0.1)


def _note(text: str) -> Figure:
    figure = Figure((8, 1.2))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure
