"""Prediction of labels for functions of source files and rows of tables, by a trained cell or an export of it."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, islice
from math import comb
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from codekd.data.corpus import UNPARSABLE
from codekd.data.encoded import Encoding, encoding_of
from codekd.data.hole import HOLE
from codekd.data.records import BadRow, Row
from codekd.data.tasks.base import Shown, as_it_is
from codekd.deploy.export import SETTINGS, Cell
from codekd.deploy.runtimes import (
    COMPARE,
    MODEL,
    SMALL,
    Comparison,
    Run,
    onnx_comparison,
    session,
    torch_comparison,
    torch_run,
)
from codekd.deploy.sources import Function, Problem, reason
from codekd.errors import CodekdError
from codekd.progress import track
from codekd.study import components

Item = TypeVar("Item")

BATCH = 32
MOST_PAIRS = 100_000
"""Largest number of pairs that are answered without a filter: those of 447 functions."""

BLOCK = 512
"""Number of functions that one function is compared with at a time: their vectors fit into the cache of a core."""


@dataclass(frozen=True)
class Asked:
    """A piece of code to label, in the form of the task's examples, and its place in a file or table."""

    place: Mapping[str, Any]
    code: str


Example = tuple[Asked, ...]
Answers = tuple[Callable[[int], Example], NDArray[np.float32], NDArray[np.bool_]]
"""A batch of answers: a function from a row to its example, logits ``(batch, classes)``, and whether the model's input
was cut ``(batch,)``.
"""


@dataclass(frozen=True)
class Wanted:
    """Filter of answers: by predicted ``label`` (None for all), and by its probability in [0, 1]."""

    label: str | None = None
    min_probability: float = 0.0

    @property
    def all(self) -> bool:
        """Whether the filter lets every answer through."""
        return self.label is None and not self.min_probability


@dataclass(frozen=True)
class Labeller:
    """A trained model that labels code.

    Attributes:
        run: computes logits.
        folder: folder with the tokenizer or the lexer's settings.
        spec: spec of the model's ``encoded`` node, or its part in an export's settings.
        kind: kind of the model's task.
        comparison: both halves of a model that encodes the sides of a pair apart; None for other models.
    """

    run: Run
    folder: Path
    spec: Mapping[str, Any]
    kind: str
    comparison: Comparison | None = None

    @classmethod
    def load(cls, folder: Path) -> "Labeller":
        """Load a model from a folder that ``codekd export`` wrote, or from the folder of a cell.

        Raises:
            CodekdError: the folder is neither.
        """
        settings = folder / SETTINGS
        if settings.exists():
            spec = json.loads(settings.read_text())
            model, compare = next(path for path in (folder / SMALL, folder / MODEL) if path.exists()), folder / COMPARE
            comparison = onnx_comparison(model, compare) if compare.exists() else None
            return cls(session(model), folder, spec, spec["kind"], comparison)
        cell = Cell.load(folder)
        model = cell.model()
        return cls(torch_run(model), cell.encoded, cell.spec, cell.kind, torch_comparison(model))

    def label(self, read: Iterable[Function | Problem], wanted: Wanted | None = None) -> Iterator[dict[str, Any]]:
        """Label functions, or all pairs of functions where the task is about pairs.

        Args:
            read: functions, and problems with files.
            wanted: filter of the answers; None for all.

        Yields:
            Records for JSON: first those with an ``error`` or ``warning`` in place of a label, for files and functions
            that the model cannot read, such as Python that does not parse; then one for every example with its place,
            ``label``, ``probability``, and ``cut`` where the model's input was cut, in the order of the functions.

        Raises:
            CodekdError: no class has the wanted label, or more than :data:`MOST_PAIRS` pairs have no filter.
        """
        wanted = wanted or Wanted()
        self._check(wanted)
        asked: list[Asked] = []
        for one in read:
            if isinstance(one, Problem):
                yield {"file": one.file, ("warning" if one.warning else "error"): one.message}
                continue
            place = _place(one)
            try:
                asked += [Asked({**place, **part.about}, self._checked(part.code)) for part in self._shown(one)]
            except BadRow as error:
                yield place | {"error": str(error)}
        pairs = len(self.spec["columns"]) == 2
        if pairs and wanted.all and comb(len(asked), 2) > MOST_PAIRS:
            example = self.spec["classes"][-1]
            raise CodekdError(
                f"{len(asked):,} functions make {comb(len(asked), 2):,} pairs; say which are wanted, such as "
                f"`--label {example}` or `--label {example} --min-probability 0.9`"
            )
        if pairs and self.comparison:
            yield from self._records(self._compared(asked), wanted)
        elif pairs:
            yield from self._records(self._answered(combinations(asked, 2), comb(len(asked), 2)), wanted)
        else:
            yield from self._records(self._answered(((one,) for one in asked), len(asked)), wanted)

    def label_rows(
        self, rows: Iterable[Row], columns: Sequence[str] = (), wanted: Wanted | None = None
    ) -> Iterator[dict[str, Any]]:
        """Label the rows of a table, whose code is already in the form of the task's examples.

        Args:
            rows: the rows.
            columns: columns of the code, by default those of the task's examples: ``code``, or ``code_a`` and
                ``code_b``.
            wanted: filter of the answers; None for all.

        Yields:
            Records as of :meth:`label`. A row that cannot be used comes first in its batch, with an ``error``.

        Raises:
            CodekdError: no class has the wanted label, or the task has another number of columns.
        """
        wanted, columns = wanted or Wanted(), columns or self.spec["columns"]
        self._check(wanted)
        if len(columns) != len(self.spec["columns"]):
            raise CodekdError(f"the task is about {len(self.spec['columns'])} columns, and not {', '.join(columns)}")
        for batch in _batches(rows, BATCH):
            examples: list[Example] = []
            for row in batch:
                place: dict[str, Any] = {"row": row.place}
                try:
                    if "id" in row.names:
                        place["id"] = row.name("id")
                    examples.append(tuple(Asked(place, self._checked(row.code(name))) for name in columns))
                except BadRow as error:
                    yield place | {"error": str(error)}
            yield from self._records(self._answered(examples, len(examples)), wanted)

    def classify(self, examples: Sequence[str | tuple[str, str]]) -> list[tuple[str, float]]:
        """Labels and probabilities of pieces of code, or of pairs of them, in the form of the task's examples."""
        sides = [(one,) if isinstance(one, str) else one for one in examples]
        logits = [self.run(self._encoding.read(chosen).inputs) for chosen in _batches(sides, BATCH)]
        probabilities = softmax(np.concatenate(logits), axis=1)
        return [(self.spec["classes"][one.argmax()], float(one.max())) for one in probabilities]

    @cached_property
    def _encoding(self) -> Encoding:
        return encoding_of(self.folder, self.spec)

    def _check(self, wanted: Wanted) -> None:
        """Refuse a filter that the model cannot satisfy, and load the tokenizer, before many files are read."""
        classes, _ = self.spec["classes"], self._encoding
        if wanted.label is not None and wanted.label not in classes:
            raise CodekdError(f"no class is called {wanted.label!r}: choose one of {', '.join(classes)}")

    def _shown(self, function: Function) -> list[Shown]:
        """A function in the form of the task's examples: as one or several pieces of code, or none."""
        shown: Callable[[str, int], list[Shown]] = getattr(components.load("tasks", self.kind), "shown", as_it_is)
        try:
            return shown(function.code, function.line)
        except UNPARSABLE as error:
            raise BadRow(f"the task is about Python, and this is none: {reason(error)}") from None

    def _checked(self, code: str) -> str:
        if self.spec["has_hole"] and (holes := code.count(HOLE)) != 1:
            raise BadRow(f"the task asks about one {HOLE}, and this has {holes}")
        return code

    def _records(self, answers: Iterable[Answers], wanted: Wanted) -> Iterator[dict[str, Any]]:
        for examples, logits, cut in answers:
            probabilities = softmax(logits, axis=1)
            best, highest = probabilities.argmax(1), probabilities.max(1)
            kept = highest >= wanted.min_probability
            if wanted.label is not None:
                kept &= best == self.spec["classes"].index(wanted.label)
            for place in kept.nonzero()[0]:
                answer = {"label": self.spec["classes"][best[place]], "probability": round(float(highest[place]), 4)}
                yield _record(examples(int(place))) | answer | ({"cut": True} if cut[place] else {})

    def _answered(self, examples: Iterable[Example], count: int) -> Iterator[Answers]:
        """Answers about ``count`` examples, each encoded in one piece as in training."""
        for chosen in track(_batches(examples, BATCH), -(-count // BATCH), description="predict", unit="batch"):
            inputs, cut = self._encoding.read([[one.code for one in example] for example in chosen])
            yield chosen.__getitem__, self.run(inputs), cut

    def _compared(self, asked: Sequence[Asked]) -> Iterator[Answers]:
        """Answers about every pair of functions, where each function is encoded once."""
        assert self.comparison is not None
        vectors, cut = self._vectors(asked)
        for first in track(range(len(asked) - 1), description="compare", unit="function"):
            for start in range(first + 1, len(asked), BLOCK):

                def pair(place: int, first: int = first, start: int = start) -> Example:
                    return asked[first], asked[start + place]

                block = slice(start, start + BLOCK)
                yield pair, self.comparison.compare(vectors[[first]], vectors[block]), cut[first] | cut[block]

    def _vectors(self, asked: Sequence[Asked]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Vectors of functions, ``(functions, width)``, and whether the model's input was cut, ``(functions,)``."""
        assert self.comparison is not None
        found = np.empty((len(asked), 0), dtype=np.float32)
        cut = np.zeros(len(asked), dtype=bool)
        by_length = sorted(range(len(asked)), key=lambda place: len(asked[place].code))
        for chosen in track(list(_batches(by_length, BATCH)), description="encode", unit="batch"):
            # A model of pairs takes an even number of rows: the last one of an odd number is repeated.
            even = [*chosen, *chosen[-1:]] if len(chosen) % 2 else chosen
            inputs, cut[even] = self._encoding.read([[asked[place].code] for place in even])
            vectors = self.comparison.vectors(inputs)
            if not found.size:
                found = np.empty((len(asked), vectors.shape[1]), dtype=np.float32)
            found[even] = vectors
        return found, cut


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of ``size`` items, the last one shorter."""
    rest = iter(items)
    while chosen := list(islice(rest, size)):
        yield chosen


def _place(function: Function) -> dict[str, Any]:
    """Place of a function as keys of a record, without those that are empty."""
    place: dict[str, Any] = {"file": function.file}
    if function.cell is not None:
        place["cell"] = function.cell
    if function.name:
        place |= {"function": function.name, "line": function.line}
    return place if function.parsed else place | {"parsed": False}


def _record(example: Example) -> dict[str, Any]:
    """Place of an example as keys of a record; for two functions every key twice, with ``_a`` and ``_b``."""
    first, *others = example
    if not others or others[0].place is first.place:
        return dict(first.place)
    return {f"{key}_{side}": value for side, one in zip("ab", example, strict=True) for key, value in one.place.items()}
