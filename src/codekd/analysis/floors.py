"""Stage ``floors``: what counting tokens reaches; what a teacher adds to it is what there is to distil.

Spec: ``{"metric", "classes", "columns", "has_hole"}``; parent: ``examples``. Leaves ``metrics.json`` and
``predictions.parquet``. Nothing is chosen on the test split.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import precision_recall_curve
from sklearn.svm import LinearSVC

from codekd.analysis.metrics import scores
from codekd.data.hole import HOLE
from codekd.data.read import REMEMBERED, read_examples
from codekd.data.splits import LABELLED
from codekd.data.tokens import code_tokens

if TYPE_CHECKING:
    from codekd.study.job import Job

BEFORE, AFTER = 40, 20
CHUNK = 2**14
"""Pairs whose vectors are multiplied at a time."""

Labels = NDArray[np.int32]


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Fit the floor of the task's input on train and write its scores and predictions."""
    columns, classes = job.spec["columns"], job.spec["classes"]
    frames = {split: read_examples(job.parents["examples"], split, columns, classes) for split in LABELLED}
    predictions = pair_floor(frames) if len(columns) == 2 else text_floor(frames, job.spec["has_hole"])
    results = {
        split: scores(frames[split]["label"], predicted, len(classes)) for split, predicted in predictions.items()
    }
    metrics = {"metric": job.spec["metric"], "scores": results}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    table = frames["test"].select("id", "label", pl.Series("prediction", predictions["test"], dtype=pl.Int32))
    table.write_parquet(folder / "predictions.parquet")
    return results


def text_floor(frames: dict[str, pl.DataFrame], has_hole: bool) -> dict[str, Labels]:
    """Predictions ``(examples,)`` for valid and test of a linear machine on TF-IDF of one to three tokens.

    With a hole the tokens are 40 before and 20 after it, and the two sides are counted apart.
    """
    vectorizer = TfidfVectorizer(analyzer=near_hole if has_hole else ngrams, sublinear_tf=True, min_df=2)
    model = LinearSVC(C=0.5, class_weight="balanced", random_state=0)
    model.fit(vectorizer.fit_transform(frames["train"]["code"]), frames["train"]["label"].to_numpy())
    return {split: model.predict(vectorizer.transform(frames[split]["code"])) for split in ("valid", "test")}


def pair_floor(frames: dict[str, pl.DataFrame]) -> dict[str, Labels]:
    """Predictions ``(examples,)`` by the TF-IDF cosine of the pair, its threshold best for F1 on valid."""
    vectorizer = TfidfVectorizer(analyzer=lru_cache(REMEMBERED)(code_tokens), sublinear_tf=True)
    vectorizer.fit(pl.concat([frames["train"]["code_a"], frames["train"]["code_b"]]))
    valid, test = (_cosines(frames[split], vectorizer) for split in ("valid", "test"))
    precision, recall, thresholds = precision_recall_curve(frames["valid"]["label"].to_numpy(), valid)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    threshold = thresholds[f1[:-1].argmax()]
    return {"valid": (valid >= threshold).astype(np.int32), "test": (test >= threshold).astype(np.int32)}


def _cosines(pairs: pl.DataFrame, vectorizer: TfidfVectorizer) -> NDArray[np.float64]:
    """``(pairs,)``; functions are few where pairs are many, so that each is made a vector once."""
    sides = pairs["code_a"], pairs["code_b"]
    texts = pl.concat(sides).unique()
    vectors = vectorizer.transform(texts)
    place = dict(zip(texts, range(len(texts)), strict=True))
    first, second = (np.fromiter((place[code] for code in side), dtype=np.int64) for side in sides)
    cuts = range(0, len(pairs), CHUNK)
    parts = [vectors[first[cut : cut + CHUNK]].multiply(vectors[second[cut : cut + CHUNK]]).sum(axis=1) for cut in cuts]
    return np.concatenate([np.asarray(part).ravel() for part in parts])


def ngrams(code: str, longest: int = 3) -> list[str]:
    """All runs of one to ``longest`` tokens."""
    return _runs(code_tokens(code), longest)


def near_hole(code: str, longest: int = 3) -> list[str]:
    """Runs of tokens on each side of the hole, marked by side."""
    before, _, after = code.partition(HOLE)
    return [f"< {run}" for run in _runs(code_tokens(before)[-BEFORE:], longest)] + [
        f"> {run}" for run in _runs(code_tokens(after)[:AFTER], longest)
    ]


def _runs(tokens: Sequence[str], longest: int) -> list[str]:
    return [" ".join(tokens[i : i + n]) for n in range(1, longest + 1) for i in range(len(tokens) - n + 1)]
