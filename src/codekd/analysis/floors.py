"""Stage ``floors``: the score of an n-gram baseline on a task, above which a teacher has something to distil.

Spec: ``{"metric", "classes", "columns", "has_hole"}``; parent: ``examples``. Writes ``metrics.json`` and
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
"""Number of pairs whose vectors are multiplied at a time."""

AT_THRESHOLD = 1e-6
"""Added to the difference of cosine and threshold, so that a pair at the threshold is positive, in float32 as well."""

Margins = NDArray[np.float64]


class Floor(Protocol):
    """A fitted n-gram baseline."""

    @property
    def parameters(self) -> int:
        """Number of fitted parameters."""

    def margins(self, frame: pl.DataFrame) -> Margins:
        """Scores ``(examples, classes)`` of no fixed scale; the class with the highest one is predicted."""


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Fit a task's floor on its train split, and write the floor's scores and test predictions.

    Raises:
        CodekdError: the metric is F1, and valid or test has no example of the second class.
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
    """Fit the n-gram baseline: a linear model, or for pairs of two classes a threshold of cosines, chosen on valid.

    Args:
        frames: examples with ``label``, by split: ``train``, and for pairs of two classes ``valid``.
        classes: number of classes of the task.
        columns: the columns of code: one, or the two sides of a pair.
        has_hole: whether the code has one ``__HOLE__``, near which tokens are counted.
    """
    if len(columns) == 2 and classes == 2:
        return Cosine.fit(frames["train"], frames["valid"])
    return Ngrams.fit(frames["train"], classes, has_hole, columns)


def write_floor(
    floor: Floor, frames: dict[str, pl.DataFrame], metric: str, classes: int, folder: Path
) -> dict[str, Any]:
    """Write ``metrics.json`` with a floor's scores on valid and test, and ``predictions.parquet`` of test.

    Returns:
        Scores in [0, 1] by split and metric.
    """
    predicted = {split: floor.margins(frames[split]).argmax(1) for split in EVALUATED}
    results = {split: scores(frames[split]["label"], predicted[split], classes) for split in EVALUATED}
    metrics = {"metric": metric, "parameters": floor.parameters, "scores": results}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    table = frames["test"].select("id", "label", pl.Series("prediction", predicted["test"], dtype=pl.Int32))
    table.write_parquet(folder / "predictions.parquet")
    return results


@dataclass(frozen=True)
class Ngrams:
    """A linear support vector machine on the TF-IDF of one to three tokens; for pairs, on the products of both sides'.

    With a hole, n-grams of the 40 tokens before it and of the 20 after it are counted apart.

    Attributes:
        vectorizer: counts n-grams and weights them.
        model: None where all training examples have one label, or no n-gram is in two pieces of code; the most
            frequent label is predicted then.
        labels: class numbers that occur in training; only the most frequent one where ``model`` is None.
        classes: number of classes of the task.
        columns: the columns of code.
    """

    vectorizer: TfidfVectorizer
    model: LinearSVC | None
    labels: NDArray[np.int64]
    classes: int
    columns: Sequence[str] = ("code",)

    @classmethod
    def fit(cls, train: pl.DataFrame, classes: int, has_hole: bool, columns: Sequence[str] = ("code",)) -> Self:
        """Fit the model on the code in ``columns`` and on ``label``; arguments are those of :func:`fit_floor`."""
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
        """Number of weights of n-grams, document frequencies and intercepts; 0 without a model."""
        if self.model is None:
            return 0
        return int(self.vectorizer.idf_.size + self.model.coef_.size + self.model.intercept_.size)

    def margins(self, frame: pl.DataFrame) -> Margins:
        """Signed distances to the hyperplanes, ``(examples, classes)``; a class not seen in training is the lowest."""
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
    """A threshold of the TF-IDF cosine of a pair's sides, from which on a pair is of the second class.

    The threshold is infinite where no labelled pair is of that class or no code has a token; ``vectorizer`` is None
    in the latter case.
    """

    vectorizer: TfidfVectorizer | None
    threshold: float

    @classmethod
    def fit(cls, train: pl.DataFrame, labelled: pl.DataFrame) -> Self:
        """Count the tokens of ``train``, and choose the threshold with the highest F1 on ``labelled``.

        Args:
            train: pairs ``code_a`` and ``code_b``, whose labels are not read.
            labelled: pairs with ``label``.
        """
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
        """Number of document frequencies, and one for the threshold."""
        return 1 + (int(self.vectorizer.idf_.size) if self.vectorizer else 0)

    def margins(self, frame: pl.DataFrame) -> Margins:
        """Half of the cosine less the threshold for the second class, its negative for the first, ``(pairs, 2)``."""
        above = (_cosines(frame, self.vectorizer) - min(self.threshold, 2.0) + AT_THRESHOLD) / 2
        return np.stack([-above, above], axis=1)


def _counted(count: Callable[[pl.Series], Any], frame: pl.DataFrame, columns: Sequence[str]) -> Any:
    """Result of ``count`` on the texts of all columns, one after another; None where no token is in enough texts."""
    try:
        return count(pl.concat([frame[name] for name in columns]))
    except ValueError:
        return None


def _products(rows: csr_matrix, sides: int) -> csr_matrix:
    """Features ``(examples, n-grams)``; of pairs the product of both sides, which follow each other in ``rows``."""
    if sides == 1:
        return rows
    half = rows.shape[0] // sides
    return rows[:half].multiply(rows[half:]).tocsr()


def _cosines(pairs: pl.DataFrame, vectorizer: TfidfVectorizer | None) -> NDArray[np.float64]:
    """Cosines of the sides of pairs, ``(pairs,)``; a function that many pairs share becomes a vector once."""
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
    """All n-grams of one to ``longest`` tokens of a piece of code."""
    return _runs(code_tokens(code), longest)


def near_hole(code: str, longest: int = 3) -> list[str]:
    """N-grams of one to ``longest`` tokens before the hole, marked ``<``, and after it, marked ``>``."""
    before, _, after = code.partition(HOLE)
    return [f"< {run}" for run in _runs(code_tokens(before)[-BEFORE:], longest)] + [
        f"> {run}" for run in _runs(code_tokens(after)[:AFTER], longest)
    ]


def _runs(tokens: Sequence[str], longest: int) -> list[str]:
    return [" ".join(tokens[i : i + n]) for n in range(1, longest + 1) for i in range(len(tokens) - n + 1)]
