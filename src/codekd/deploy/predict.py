"""Labels for the functions of source files, from a trained cell or from what was exported of it."""

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
"""Answers about pairs that are printed without a word on which are wanted: those of 447 functions."""

BLOCK = 512
"""Functions that another one is compared with at a time: their vectors stay in the cache of a core."""


@dataclass(frozen=True)
class Asked:
    """What a model is asked about: code as its task shows it, and where that is from."""

    place: Mapping[str, Any]
    code: str


Example = tuple[Asked, ...]
Answers = tuple[Callable[[int], Example], NDArray[np.float32], NDArray[np.bool_]]
"""The example at each place of a batch, the logits ``(batch, classes)``, and of which the model did not see all."""


@dataclass(frozen=True)
class Wanted:
    """Which answers are given: those with a ``label``, and at least so probable."""

    label: str | None = None
    min_probability: float = 0.0

    @property
    def all(self) -> bool:
        """Whether every answer is."""
        return self.label is None and not self.min_probability


@dataclass(frozen=True)
class Labeller:
    """A model with what it reads: ``spec`` is that of its ``encoded`` node, ``kind`` that of its task.

    ``comparison`` has both halves of a model that encodes the sides of a pair apart.
    """

    run: Run
    folder: Path
    spec: Mapping[str, Any]
    kind: str
    comparison: Comparison | None = None

    @classmethod
    def load(cls, folder: Path) -> "Labeller":
        """From a folder that ``codekd export`` wrote, or from a cell.

        Raises:
            CodekdError: it is neither.
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
        """One record for everything that the task asks about and that is ``wanted``, in the order of the functions.

        What cannot be shown to the model, such as Python that does not parse, comes first, with an ``error`` instead of
        a label.

        Raises:
            CodekdError: no class has the label that is wanted, or every pair of many functions is.
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
        """One record for every row of a table that is ``wanted``, whose ``columns`` are shown as they are.

        They are by default those of the task's examples, ``code``, or ``code_a`` and ``code_b``. A row that cannot be
        used comes first of its batch, with an ``error``.

        Raises:
            CodekdError: no class has the label that is wanted, or the task has another number of columns.
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
        """Label and probability of pieces of code, or of pairs of them, shown as they are."""
        sides = [(one,) if isinstance(one, str) else one for one in examples]
        logits = [self.run(self._encoding.read(chosen).inputs) for chosen in _batches(sides, BATCH)]
        probabilities = softmax(np.concatenate(logits), axis=1)
        return [(self.spec["classes"][one.argmax()], float(one.max())) for one in probabilities]

    @cached_property
    def _encoding(self) -> Encoding:
        return encoding_of(self.folder, self.spec)

    def _check(self, wanted: Wanted) -> None:
        """That what is wanted can be had, before many files are read."""
        classes, _ = self.spec["classes"], self._encoding
        if wanted.label is not None and wanted.label not in classes:
            raise CodekdError(f"no class is called {wanted.label!r}: choose one of {', '.join(classes)}")

    def _shown(self, function: Function) -> list[Shown]:
        """What the task shows of a function."""
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
        """Every example as it was in training."""
        for chosen in track(_batches(examples, BATCH), -(-count // BATCH), description="predict", unit="batch"):
            inputs, cut = self._encoding.read([[one.code for one in example] for example in chosen])
            yield chosen.__getitem__, self.run(inputs), cut

    def _compared(self, asked: Sequence[Asked]) -> Iterator[Answers]:
        """Every pair of functions, each of which is encoded once."""
        assert self.comparison is not None
        vectors, cut = self._vectors(asked)
        for first in track(range(len(asked) - 1), description="compare", unit="function"):
            for start in range(first + 1, len(asked), BLOCK):

                def pair(place: int, first: int = first, start: int = start) -> Example:
                    return asked[first], asked[start + place]

                block = slice(start, start + BLOCK)
                yield pair, self.comparison.compare(vectors[[first]], vectors[block]), cut[first] | cut[block]

    def _vectors(self, asked: Sequence[Asked]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """What is compared, ``(functions, width)``, and which functions the model did not see all of."""
        assert self.comparison is not None
        found = np.empty((len(asked), 0), dtype=np.float32)
        cut = np.zeros(len(asked), dtype=bool)
        by_length = sorted(range(len(asked)), key=lambda place: len(asked[place].code))
        for chosen in track(list(_batches(by_length, BATCH)), description="encode", unit="batch"):
            # A model answers about pairs: of an odd number the last one stands there twice.
            even = [*chosen, *chosen[-1:]] if len(chosen) % 2 else chosen
            inputs, cut[even] = self._encoding.read([[asked[place].code] for place in even])
            vectors = self.comparison.vectors(inputs)
            if not found.size:
                found = np.empty((len(asked), vectors.shape[1]), dtype=np.float32)
            found[even] = vectors
        return found, cut


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """So many at a time."""
    rest = iter(items)
    while chosen := list(islice(rest, size)):
        yield chosen


def _place(function: Function) -> dict[str, Any]:
    """Where a function is: keys that say nothing are left out."""
    place: dict[str, Any] = {"file": function.file}
    if function.cell is not None:
        place["cell"] = function.cell
    if function.name:
        place |= {"function": function.name, "line": function.line}
    return place if function.parsed else place | {"parsed": False}


def _record(example: Example) -> dict[str, Any]:
    """Where an example is from; of two functions every key twice."""
    first, *others = example
    if not others or others[0].place is first.place:
        return dict(first.place)
    return {f"{key}_{side}": value for side, one in zip("ab", example, strict=True) for key, value in one.place.items()}
