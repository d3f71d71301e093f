"""What it takes to serve the models of a study, and which of them nothing beats in both score and time."""

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
    """One row for every task, teacher, model, runtime and size of a batch.

    A model is a student, with its own head or its teacher's, or the teacher. Milliseconds are those of one example on
    one thread, from its code to its logits: medians by the clock, with quartiles, and of the tokenizer and the model
    alone. ``teacher_milliseconds`` are the teacher's in turns with the model, ``speed_up`` the median ratio, of CPU
    time on a CPU; null without a teacher. A teacher, which is measured with every student, has the numbers of a time at
    which the machine was not busy, where there is one.
    """
    one = [*MODEL, "runtime", "precision", "device", "batch"]
    found = pl.DataFrame(list(_measured(job)), INFERENCE).with_row_index()
    return found.sort("busy", "index").unique(one, keep="first").sort("index").drop("index")


def pareto(scores: pl.DataFrame, references: pl.DataFrame, served: pl.DataFrame, reuse: Sequence[str]) -> pl.DataFrame:
    """Every student and method, and the teacher, with its score, size, and time for one example on one CPU thread.

    Time and size are those of what is deployed: ONNX in float32, tokenizer included; in PyTorch where one of a task and
    teacher was not measured in ONNX. ``int8_milliseconds`` is the time in eight bits. Students of the methods that
    ``reuse`` their teacher's head are measured with it. ``on_front`` says that nothing of the task and teacher is
    better in score and as fast, or faster and as good, and ``on_front_of_size`` the same of size. Empty where no time
    was measured. Of what was measured on a busy machine the time is that of the CPU: the clock's has waiting in it.
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
    """Of every model the time and the size in what it is deployed in, the same for all of a task and teacher."""
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
