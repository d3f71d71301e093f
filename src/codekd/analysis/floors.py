"""Stage ``floors``: what counting tokens reaches; what a teacher adds to it is what there is to distil.

Spec: ``{"metric", "classes", "columns", "has_hole"}``; parent: ``examples``. Leaves ``metrics.json`` and
``predictions.parquet``. Nothing is chosen on the test split.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import precision_recall_curve
from sklearn.svm import LinearSVC

from codekd.analysis.metrics import scores
from codekd.data.hole import HOLE
from codekd.data.read import REMEMBERED, read_examples
from codekd.data.splits import EVALUATED, LABELLED
from codekd.data.tokens import code_tokens
from codekd.errors import CodekdError

if TYPE_CHECKING:
    from codekd.study.job import Job

BEFORE, AFTER = 40, 20
CHUNK = 2**14
"""Pairs whose vectors are multiplied at a time."""

AT_THRESHOLD = 1e-6
"""What a cosine at the threshold is above it: the pair counts as positive, in half the digits too."""

Margins = NDArray[np.float64]


class Floor(Protocol):
    """A fitted model of n-grams."""

    @property
    def parameters(self) -> int:
        """Numbers that it was fitted to."""

    def margins(self, frame: pl.DataFrame) -> Margins:
        """Scores ``(examples, classes)`` of no particular scale; the largest is the prediction."""


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Fit the floor of the task's input on train and write its scores and predictions.

    Raises:
        CodekdError: the metric is the F1 of a class that valid or test lacks.
    """
    columns, classes = job.spec["columns"], job.spec["classes"]
    frames = {split: read_examples(job.parents["examples"], split, columns, classes) for split in LABELLED}
    for split in EVALUATED:
        if job.spec["metric"] == "f1" and not (frames[split]["label"] == 1).any():
            raise CodekdError(
                f"{job.coordinates[0]}: none of the {len(frames[split]):,} examples of {split} is of the class "
                f"{classes[1]!r}, so that its F1 is 0 whatever is predicted: put some there, or choose another `metric`"
            )
    floor = fit_floor(frames, len(classes), columns, job.spec["has_hole"])
    return write_floor(floor, frames, job.spec["metric"], len(classes), folder)


def fit_floor(frames: dict[str, pl.DataFrame], classes: int, columns: Sequence[str], has_hole: bool) -> Floor:
    """The floor, fitted on train; that of pairs of two classes is a threshold, chosen on valid."""
    if len(columns) == 2 and classes == 2:
        return Cosine.fit(frames["train"], frames["valid"])
    return Ngrams.fit(frames["train"], classes, has_hole, columns)


def write_floor(
    floor: Floor, frames: dict[str, pl.DataFrame], metric: str, classes: int, folder: Path
) -> dict[str, Any]:
    """Write ``metrics.json`` with the scores on valid and test, and ``predictions.parquet`` of test."""
    predicted = {split: floor.margins(frames[split]).argmax(1) for split in EVALUATED}
    results = {split: scores(frames[split]["label"], predicted[split], classes) for split in EVALUATED}
    metrics = {"metric": metric, "parameters": floor.parameters, "scores": results}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    table = frames["test"].select("id", "label", pl.Series("prediction", predicted["test"], dtype=pl.Int32))
    table.write_parquet(folder / "predictions.parquet")
    return results


@dataclass(frozen=True)
class Ngrams:
    """A linear machine on TF-IDF of one to three tokens, of pairs on the products of both sides'.

    With a hole the tokens are 40 before and 20 after it, and the two sides are counted apart. ``model`` is None where
    all that it was fitted on has one label, or no token in common: the prediction is the most frequent one. ``labels``
    are those that there were, or that one; ``classes`` counts those of the task.
    """

    vectorizer: TfidfVectorizer
    model: LinearSVC | None
    labels: NDArray[np.int64]
    classes: int
    columns: Sequence[str] = ("code",)

    @classmethod
    def fit(cls, train: pl.DataFrame, classes: int, has_hole: bool, columns: Sequence[str] = ("code",)) -> Self:
        """Fit it on the named columns and ``label``."""
        vectorizer = TfidfVectorizer(analyzer=near_hole if has_hole else ngrams, sublinear_tf=True, min_df=2)
        labels = train["label"].to_numpy()
        found, counts = np.unique(labels, return_counts=True)
        rows = _counted(vectorizer.fit_transform, train, columns) if len(found) > 1 else None
        if rows is None:
            return cls(vectorizer, None, found[[counts.argmax()]], classes, columns)
        model = LinearSVC(C=0.5, class_weight="balanced", random_state=0)
        model.fit(_products(rows, len(columns)), labels)
        return cls(vectorizer, model, found, classes, columns)

    @property
    def parameters(self) -> int:
        """Weights of the n-grams, the weights in the document frequencies, and the intercepts."""
        if self.model is None:
            return 0
        return int(self.vectorizer.idf_.size + self.model.coef_.size + self.model.intercept_.size)

    def margins(self, frame: pl.DataFrame) -> Margins:
        """Distances to the hyperplanes; a class without an example is below all others."""
        found = np.zeros((len(frame), len(self.labels)))
        if self.model:
            rows = self.vectorizer.transform(pl.concat([frame[name] for name in self.columns]))
            found = self.model.decision_function(_products(rows, len(self.columns)))
        if found.ndim == 1:
            found = np.stack([-found, found], axis=1) / 2
        out = np.repeat(found.min(1, keepdims=True) - 1, self.classes, axis=1)
        out[:, self.labels] = found
        return out


@dataclass(frozen=True)
class Cosine:
    """The TF-IDF cosine of a pair against a threshold, which is infinite where no pair has a token or the class.

    Without a token there is no ``vectorizer``.
    """

    vectorizer: TfidfVectorizer | None
    threshold: float

    @classmethod
    def fit(cls, train: pl.DataFrame, labelled: pl.DataFrame) -> Self:
        """Count tokens in ``train``, and choose the threshold with the best F1 on ``labelled``."""
        vectorizer = TfidfVectorizer(analyzer=lru_cache(REMEMBERED)(code_tokens), sublinear_tf=True)
        labels = labelled["label"].to_numpy()
        if _counted(vectorizer.fit, train, ("code_a", "code_b")) is None:
            return cls(None, np.inf)
        if not labels.any():
            return cls(vectorizer, np.inf)
        precision, recall, thresholds = precision_recall_curve(labels, _cosines(labelled, vectorizer))
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        return cls(vectorizer, float(thresholds[f1[:-1].argmax()]))

    @property
    def parameters(self) -> int:
        """The weights in the document frequencies, and the threshold."""
        return 1 + (int(self.vectorizer.idf_.size) if self.vectorizer else 0)

    def margins(self, frame: pl.DataFrame) -> Margins:
        """Half of what the cosine is above the threshold, for the second class, and below it, for the first."""
        above = (_cosines(frame, self.vectorizer) - min(self.threshold, 2.0) + AT_THRESHOLD) / 2
        return np.stack([-above, above], axis=1)


def _counted(count: Callable[[pl.Series], Any], frame: pl.DataFrame, columns: Sequence[str]) -> Any:
    """What ``count`` gives of the texts of all columns, one after another; None where no token is in enough of them."""
    try:
        return count(pl.concat([frame[name] for name in columns]))
    except ValueError:
        return None


def _products(rows: csr_matrix, sides: int) -> csr_matrix:
    """``(examples, n-grams)``, of pairs the product of both sides, of the ``rows`` of the sides one after another."""
    if sides == 1:
        return rows
    half = rows.shape[0] // sides
    return rows[:half].multiply(rows[half:]).tocsr()


def _cosines(pairs: pl.DataFrame, vectorizer: TfidfVectorizer | None) -> NDArray[np.float64]:
    """``(pairs,)``; functions are few where pairs are many, so that each is made a vector once."""
    if pairs.is_empty() or vectorizer is None:
        return np.zeros(len(pairs))
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
