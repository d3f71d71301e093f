"""Stage ``examples``: a task's labelled splits and its unlabelled transfer set.

Spec: ``{"task": {the task's config}, "split": {package: "train" | "valid" | "test" | "transfer"}}``; parents:
``corpus/NAME`` for every corpus that the task reads, or ``file/ROLE/NUMBER`` for every file. Leaves ``train``,
``valid``, ``test`` and ``unlabeled`` as Parquet with the columns ``id``, those of the code, ``label``, ``group`` and
the task's own; ``unlabeled`` also has the column ``made`` where the task makes synthetic examples.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors as cs

from codekd.data.hashing import digest
from codekd.data.splits import EVALUATED, LABELLED, SPLITS
from codekd.data.tasks.base import TaskConfig
from codekd.errors import CodekdError

if TYPE_CHECKING:
    from codekd.study.job import Job


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Build the examples, drop duplicates, apply the limits, check and write the splits.

    Returns:
        Of every split the number of examples, groups and examples of each class, and the largest group with its share;
        the number of rows left out of files, by reason; and the classes that a split lacks.
    """
    spec, split = job.spec["task"], job.spec["split"]
    task = importlib.import_module(f"codekd.data.tasks.{spec['kind']}")
    config: TaskConfig = task.Config.model_validate(spec)
    corpora = {name: job.parents[f"corpus/{name}"] for name in config.corpora}
    for name, corpus in corpora.items():
        _check_packages(name, corpus, split)
    found, left_out = (task.build(config, corpora, split), {}) if corpora else task.read(config, job.files())
    frames = finish(found, config)
    check(frames, config)
    for part, frame in frames.items():
        frame.write_parquet(folder / f"{part}.parquet")
    counts = {part: _counts(frame, config) for part, frame in frames.items()}
    lacking = {part: [name for name, count in counts[part]["classes"].items() if not count] for part in LABELLED}
    return counts | {"left out": left_out, "lacking": {part: names for part, names in lacking.items() if names}}


def finish(frames: dict[str, pl.DataFrame], config: TaskConfig) -> dict[str, pl.DataFrame]:
    """Add ids, keep the first of equal inputs (labelled before unlabelled), sort by id and cut to the limits.

    The id is a hash of the code, and of the column ``key`` where there is one. So the order is random and the same
    everywhere, and the first n examples, of all or of a group, are a fixed random sample. Synthetic examples, in the
    frame ``made`` of a task that has them, are put behind the other unlabelled ones, in the order in which they were
    made, and are marked in the column ``made``.

    Args:
        frames: examples by split, and ``made``; with the columns of code, ``label``, ``group`` and others.
        config: of the task.
    """
    finished: dict[str, pl.DataFrame] = {}
    seen = pl.Series("id", [], dtype=pl.String)
    for part in SPLITS:
        frame = _unseen(frames[part], config, seen).sort("id")
        seen = pl.concat([seen, frame["id"]])
        if part in EVALUATED and config.evaluated_per_group is not None:
            # Chosen in another order than that of ids: a group that is cut would keep its lowest ids and come first.
            rank = pl.col("id").str.reverse().rank("ordinal").over("group")
            frame = frame.filter(rank <= config.evaluated_per_group)
        limit: int | None = getattr(config.examples, part)
        finished[part] = frame.head(len(frame) if limit is None else limit)
    if "made" in frames:
        made = _unseen(frames["made"], config, seen)
        both = [frame.with_columns(made=pl.lit(frame is made)) for frame in (finished["unlabeled"], made)]
        finished["unlabeled"] = pl.concat(both)
    return finished


def _unseen(frame: pl.DataFrame, config: TaskConfig, seen: pl.Series) -> pl.DataFrame:
    """Examples with ids, the first of equal ones, without those whose ids were ``seen`` in other splits."""
    ids = [digest(*row) for row in frame.select(cs.by_name("key", require_all=False), *config.columns).iter_rows()]
    frame = frame.select(
        pl.Series("id", ids, dtype=pl.String),
        *config.columns,
        pl.col("label").cast(pl.Int32),
        pl.exclude("key", "label", *config.columns),
    )
    return frame.unique("id", keep="first", maintain_order=True).join(
        seen.to_frame(), on="id", how="anti", maintain_order="left"
    )


def check(frames: dict[str, pl.DataFrame], config: TaskConfig) -> None:
    """Check the splits of a task.

    Raises:
        CodekdError: a labelled split is empty, an example is in two splits, a label is no class, a group is in two
            splits (which official splits may do), or unlabelled examples are of a group of valid or test.
    """
    ids = pl.concat([frame["id"] for frame in frames.values()])
    if ids.n_unique() != len(ids):
        raise CodekdError(f"{config.kind}: {len(ids) - ids.n_unique()} examples are in more than one place")
    owner: dict[str, str] = {}
    for part in LABELLED:
        frame = frames[part]
        if frame.is_empty():
            raise CodekdError(f"{config.kind}: no example in {part}; give it more packages, or groups, there")
        if not frame["label"].is_between(0, len(config.classes) - 1).all():
            raise CodekdError(f"{config.kind}: {part} has labels outside 0..{len(config.classes) - 1}")
        for group in () if config.official_splits else frame["group"].unique():
            if owner.setdefault(group, part) != part:
                raise CodekdError(f"{config.kind}: {group} has examples in {owner[group]} and in {part}")
    if strangers := {g for g in frames["unlabeled"]["group"].unique() if owner.get(g, "train") != "train"}:
        raise CodekdError(f"{config.kind}: unlabelled examples from {', '.join(sorted(strangers))}, not of train")


def _check_packages(name: str, corpus: Path, split: dict[str, str]) -> None:
    packages = pl.scan_parquet(corpus / "functions.parquet").select("package").unique().collect()["package"]
    if missing := sorted(set(packages) - split.keys()):
        raise CodekdError(
            f"the split leaves out {', '.join(missing)} of the corpus {name!r}: add each as train, valid or test"
        )
    if wrong := sorted(set(split.values()) - {*LABELLED, "transfer"}):
        raise CodekdError(f"the split names {', '.join(wrong)}: write train, valid, test or transfer")


def _counts(frame: pl.DataFrame, config: TaskConfig) -> dict[str, Any]:
    labels = frame["label"].to_list()
    by_class = {name: labels.count(label) for label, name in enumerate(config.classes)}
    groups = frame["group"].value_counts(sort=True)
    largest = {"name": groups["group"][0], "share": groups["count"][0] / len(labels)} if labels else None
    return {"examples": len(labels), "groups": len(groups), "largest_group": largest, "classes": by_class}
