"""Controls: what they change in what a student learns from, and nothing else."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from data_stages import code_columns, job_of, run_stage
from test_sequences import write_examples

from codekd.data.batches import load_encoded, training_batches
from codekd.data.rows import Fixed
from codekd.data.splits import SPLITS, TRANSFER
from codekd.signals.format import read_signal, shard_name, write_shard
from codekd.study import components
from codekd.study.resolve import presets
from codekd.training.controls import repeated, shuffled_within_classes
from codekd.training.student import prepare

LABELLED, UNLABELLED = 10, 17
ARCHITECTURE = {"kind": "bigru", "vocabulary_size": 300, "max_length": 48, "layers": 1, "hidden": 8}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Encoded functions of this project, more of them without labels than with, and made-up logits."""
    folder = tmp_path_factory.mktemp("controls")
    (folder / "examples").mkdir()
    write_examples(folder / "examples", code_columns(["code"], LABELLED))
    more = pl.read_parquet(folder / "examples" / "unlabeled.parquet")
    code = code_columns(["code"], UNLABELLED)["code"]
    ids = [f"more{row}" for row in range(UNLABELLED)]
    filled = pl.DataFrame({"id": ids, "code": code, "group": ["package"] * UNLABELLED, "label": [-1] * UNLABELLED})
    filled.select(more.columns).cast(more.schema).write_parquet(folder / "examples" / "unlabeled.parquet")
    parents = {"examples": folder / "examples"}
    spec = {"size": 300, "columns": {"task": ["code"]}}
    run_stage("codekd.data.bpe", folder / "tokenizer", spec, {"examples/task": folder / "examples"})
    spec = {"max_length": 48, "prefix": [], "classes": ["no", "yes"], "columns": ["code"], "has_hole": False}
    run_stage("codekd.data.encode", folder / "encoded", spec, {**parents, "tokenizer": folder / "tokenizer"})
    (folder / "logits").mkdir()
    generator = np.random.default_rng(0)
    for split in SPLITS:
        ids = load_encoded(folder / "encoded", [split]).ids
        rows = Fixed(generator.normal(size=(len(ids), 3)).astype(np.float32))
        write_shard(folder / "logits" / shard_name(split, 0), "logits", ids, rows)
    return {"encoded": folder / "encoded", "signals/logits": folder / "logits"}


def learned_from(made: dict[str, Path], method: str, seed: int = 1, **settings: object):
    """What a student learns from, as production prepares it."""
    loss = components.parse("methods", presets()["methods"][method] | settings)
    spec = {"method": loss.model_dump(), "architecture": ARCHITECTURE, "seed": seed, "classes": 3, "pooling": "mean"}
    return prepare(job_of("codekd.training.student", made["encoded"], spec, made))[2]


@pytest.mark.parametrize(("labelled", "count"), [(3, 8), (5, 5), (4, 12), (1, 6), (7, 9)])
def test_examples_are_repeated_equally_often_or_once_more(labelled: int, count: int) -> None:
    rows = repeated(labelled, count, seed=1)
    often = np.bincount(rows, minlength=labelled)
    assert often.sum() == count and {*often} <= {count // labelled, -(-count // labelled)}
    assert np.array_equal(rows, repeated(labelled, count, seed=1))


def test_who_is_repeated_once_more_depends_on_the_seed_and_not_on_the_place() -> None:
    extra = {tuple(sorted(repeated(20, 25, seed)[20:])) for seed in range(10)}
    assert len(extra) == 10


def test_logits_are_those_of_another_example_of_the_same_predicted_class() -> None:
    logits = np.random.default_rng(2).normal(size=(200, 4))
    logits[:, 3] -= 100
    logits[17, 3] = 200  # the only one of its class
    rows = shuffled_within_classes(logits, seed=5)
    assert sorted(rows) == list(range(200)), "each is another's once"
    assert np.array_equal(logits[rows].argmax(1), logits.argmax(1))
    assert np.flatnonzero(rows == np.arange(200)).tolist() == [17]
    assert np.array_equal(rows, shuffled_within_classes(logits, seed=5))
    assert not np.array_equal(rows, shuffled_within_classes(logits, seed=6))


def test_longer_fine_tuning_sees_as_many_examples_in_as_many_steps_as_distillation(made: dict[str, Path]) -> None:
    long, taught, short = (learned_from(made, name) for name in ("ft-long", "kd", "ft"))
    assert len(long) == len(taught) == LABELLED + UNLABELLED > len(short) == LABELLED
    steps = [len(training_batches(one.lengths, 4, 10**6, np.random.default_rng(0))) for one in (long, taught)]
    assert steps[0] == steps[1]
    assert {*long.ids} == {*short.ids} and (long.labels >= 0).all()
    place = {name: row for row, name in enumerate(short.ids)}
    for row, name in enumerate(long.ids):
        same = place[name]
        assert long.labels[row] == short.labels[same]
        assert long.second_start[row] == short.second_start[same]
        mine, theirs = (
            one.tokens[one.offsets[at] : one.offsets[at + 1]].tolist() for one, at in ((long, row), (short, same))
        )
        assert mine == theirs


def test_shuffled_logits_are_the_captured_ones_in_another_order(made: dict[str, Path]) -> None:
    taught, wrong, again, other = (
        learned_from(made, name, seed=seed)
        for name, seed in (("kd", 1), ("kd-shuffled", 1), ("kd-shuffled", 1), ("kd-shuffled", 2))
    )
    right, found = taught.signals["logits"].values, wrong.signals["logits"].values
    assert np.array_equal(right, read_signal(made["signals/logits"], TRANSFER, "logits", taught.ids).values)
    assert taught.ids == wrong.ids and np.array_equal(taught.labels, wrong.labels)
    assert np.array_equal(right.argmax(1), found.argmax(1)), "hard labels stay"
    assert np.array_equal(np.sort(right, axis=0), np.sort(found, axis=0))
    often = np.bincount(right.argmax(1))
    assert (np.abs(right - found).max(1) == 0).sum() == (often == 1).sum()
    assert np.array_equal(found, again.signals["logits"].values)
    assert not np.array_equal(found, other.signals["logits"].values)
    first = wrong.batch(np.arange(2), torch.device("cpu")).teacher["logits"]
    assert np.array_equal(first.numpy(), found[:2])
