"""Serving costs of a study's models (time, memory, size), and the Pareto fronts of score against time and size."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from codekd.analysis.tables import NAMED, NAMES, Row, Schema, as_students, numbers

if TYPE_CHECKING:
    from codekd.study.job import Job

INFERENCE: Schema = {
    **dict.fromkeys(("task", "teacher", "kind", "name"), pl.String),
    "reused_head": pl.Boolean,
    **dict.fromkeys(("runtime", "precision", "device"), pl.String),
    **dict.fromkeys(("batch", "turns"), pl.Int64),
    **numbers("milliseconds", "milliseconds_low", "milliseconds_high"),
    **numbers("tokenizer_milliseconds", "model_milliseconds", "cpu_milliseconds", "teacher_milliseconds", "speed_up"),
    "busy": pl.Boolean,
    **dict.fromkeys(("parameters", "bytes", "peak_bytes"), pl.Int64),
    **numbers("flops", "tokens"),
    "without_onnx": pl.String,
}
PARETO: Schema = {
    **NAMED,
    "reused_head": pl.Boolean,
    "metric": pl.String,
    **numbers("score", "floor"),
    "parameters": pl.Int64,
    **numbers("share_of_teacher"),
    "runtime": pl.String,
    **numbers("milliseconds", "int8_milliseconds", "megabytes", "speed_up"),
    **dict.fromkeys(("busy", "on_front", "on_front_of_size"), pl.Boolean),
}
MODEL = ("task", "teacher", "kind", "name", "reused_head")
TIMES = ("runtime", "milliseconds", "int8_milliseconds", "megabytes", "speed_up", "busy")


def inference(job: "Job") -> pl.DataFrame:
    """Serving costs: one row per task, teacher, model, runtime and batch size.

    A model is a student, with its own head or its teacher's, or the teacher. Milliseconds are those of one example on
    one thread, from its code to its logits: medians of wall time, with quartiles, and of the tokenizer and the model
    alone. ``teacher_milliseconds`` are the teacher's, measured in turns with the model, and ``speed_up`` is the median
    ratio of both, of CPU time on a CPU; null without a teacher. A teacher is measured anew with every student; its row
    is from a measurement during which the machine was not busy, where there is one.

    Args:
        job: the report's job, whose parents are the folders of ``inference`` nodes.
    """
    one = [*MODEL, "runtime", "precision", "device", "batch"]
    found = pl.DataFrame(list(_measured(job)), INFERENCE).with_row_index()
    return found.sort("busy", "index").unique(one, keep="first").sort("index").drop("index")


def pareto(scores: pl.DataFrame, references: pl.DataFrame, served: pl.DataFrame, reuse: Sequence[str]) -> pl.DataFrame:
    """Score, size and serving time of every student and method and of the teacher, with Pareto fronts.

    ``milliseconds`` and ``megabytes`` are those of the deployed form: one example on one CPU thread in ONNX and
    float32, tokenizer included, or in PyTorch where a model of the task and teacher was not measured in ONNX.
    ``int8_milliseconds`` is the time in eight bits. Times measured on a busy machine are CPU time, because wall time
    contains waiting. ``on_front``: no model of the task and teacher has a better score and is as fast, or is faster
    and has as good a score; ``on_front_of_size``: the same with size for time. The table is empty where no time was
    measured.

    Args:
        scores: the report's table of the same name.
        references: the report's table of the same name.
        served: the table that :func:`inference` returns.
        reuse: methods whose students are measured with their teacher's head.
    """
    fast = _deployed(served)
    sizes = "parameters", "share_of_teacher"
    students = scores.select(
        *NAMES, *sizes, "metric", "score", "floor", reused_head=pl.col("method").is_in(reuse)
    ).join(
        fast.filter(kind="student").drop("kind"),
        left_on=["task", "teacher", "student", "reused_head"],
        right_on=["task", "teacher", "name", "reused_head"],
        maintain_order="left",
    )
    teachers = as_students(references, "parameters", "metric", "score").join(
        fast.filter(kind="teacher").drop("kind", "name"), ["task", "teacher"], maintain_order="left"
    )
    both = pl.concat([students, teachers], how="diagonal")
    both = _with_front(_with_front(both, "milliseconds", "on_front"), "megabytes", "on_front_of_size")
    return both.select(PARETO.keys()).cast(PARETO)  # type: ignore[arg-type]


def _deployed(served: pl.DataFrame) -> pl.DataFrame:
    """Time and size of every model in the runtime that it is deployed in, one runtime for a task and teacher."""
    of_cpu = pl.when("busy").then("cpu_milliseconds").otherwise("milliseconds")
    alone = served.filter(batch=1, device="cpu").with_columns(milliseconds=of_cpu)
    in_eight_bits = alone.filter(runtime="onnx", precision="int8")
    small = in_eight_bits.select(*MODEL, int8_milliseconds="milliseconds", small_busy="busy")
    full = alone.filter(precision="float32").with_columns(megabytes=pl.col("bytes") / 1e6)
    models = pl.struct("kind", "name", "reused_head")
    in_onnx = models.filter(pl.col("runtime") == "onnx").n_unique() == models.n_unique()
    chosen = pl.when(in_onnx.over("task", "teacher")).then(pl.lit("onnx")).otherwise(pl.lit("pytorch"))
    found = full.filter(pl.col("runtime") == chosen).join(small, MODEL, "left")
    return found.with_columns(pl.col("busy") | pl.col("small_busy").fill_null(False)).select(*MODEL, *TIMES)


def _with_front(table: pl.DataFrame, cost: str, name: str) -> pl.DataFrame:
    ranked = table.with_row_index().sort(cost, -pl.col("score"))
    before = pl.col("score").cum_max().shift(1).over("task", "teacher")
    return ranked.with_columns((before.is_null() | (pl.col("score") > before)).alias(name)).sort("index").drop("index")


def _measured(job: "Job") -> Iterator[Row]:
    for role, folder in job.parents.items():
        if role.startswith("inference/"):
            _, task, teacher, student, *head = role.split("/")
            found: dict[str, Any] = json.loads((folder / "inference.json").read_text())
            for times in found["times"]:
                kind = times["model"]
                own = {"kind": "teacher", "name": teacher, "reused_head": False}
                if kind == "student":
                    own = {"kind": "student", "name": student, "reused_head": bool(head)}
                yield {"task": task, "teacher": teacher, **own, **times, **found["models"][kind]}
