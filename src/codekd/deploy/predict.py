"""Labels for the functions of source files, from a trained cell or from what was exported of it."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from codekd.data.batches import Encoded, sorted_batches
from codekd.data.corpus import UNPARSABLE
from codekd.data.encoded import encoding_of
from codekd.data.hole import HOLE
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
from codekd.deploy.sources import Function, Shown, shown
from codekd.errors import CodekdError
from codekd.models.inference import BATCH_TOKENS
from codekd.models.vocabulary import read_vocabulary
from codekd.progress import track

BATCH = 32
MOST_PAIRS = 100_000
"""Answers about pairs that are printed without a word on which are wanted: those of 447 functions."""

BLOCK = 512
"""Functions that another one is compared with at a time: their vectors stay in the cache of a core."""

Example = tuple[Shown, ...]
Answers = tuple[Callable[[int], Example], NDArray[np.float32]]
"""The example at each place of a batch, and the logits ``(batch, classes)``."""


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

    def label(self, functions: Iterable[Function], wanted: Wanted | None = None) -> Iterator[dict[str, Any]]:
        """One record for everything that the task asks about and that is ``wanted``, in the order of the functions.

        What cannot be shown to the model, such as Python that does not parse, comes first, with an ``error`` instead of
        a label.

        Raises:
            CodekdError: no class has the label that is wanted, or every pair of many functions is.
        """
        classes, wanted = self.spec["classes"], wanted or Wanted()
        if wanted.label is not None and wanted.label not in classes:
            raise CodekdError(f"no class is called {wanted.label!r}: choose one of {', '.join(classes)}")
        asked: list[Shown] = []
        failed: list[dict[str, Any]] = []
        for function in functions:
            try:
                found = shown(function, self.kind)
            except UNPARSABLE as error:
                reason = getattr(error, "msg", None) or type(error).__name__
                failed.append(_place(function) | {"error": f"the task is about Python, and this is none: {reason}"})
                continue
            for one in found:
                if self.spec["has_hole"] and (holes := one.code.count(HOLE)) != 1:
                    failed.append(_place(function) | {"error": f"the task asks about one {HOLE}, and this has {holes}"})
                else:
                    asked.append(one)
        pairs = len(self.spec["columns"]) == 2
        if pairs and wanted.all and comb(len(asked), 2) > MOST_PAIRS:
            raise CodekdError(
                f"{len(asked):,} functions make {comb(len(asked), 2):,} pairs; say which are wanted, such as "
                f"`--label {classes[-1]}` or `--label {classes[-1]} --min-probability 0.9`"
            )
        yield from failed
        answers = self._compared(asked) if pairs and self.comparison else self._answered(asked, pairs)
        for examples, logits in answers:
            probabilities = softmax(logits, axis=1)
            best, highest = probabilities.argmax(1), probabilities.max(1)
            kept = highest >= wanted.min_probability
            if wanted.label is not None:
                kept &= best == classes.index(wanted.label)
            for place in kept.nonzero()[0]:
                answer = {"label": classes[best[place]], "probability": round(float(highest[place]), 4)}
                yield _record(examples(int(place))) | answer

    def _answered(self, asked: Sequence[Shown], pairs: bool) -> Iterator[Answers]:
        """Every function, or every pair of them, as it was in training."""
        encoding = encoding_of(self.folder, self.spec)
        examples: Iterable[Example] = combinations(asked, 2) if pairs else ((one,) for one in asked)
        count = comb(len(asked), 2) if pairs else len(asked)
        for chosen in track(_batches(examples, BATCH), -(-count // BATCH), description="predict", unit="batch"):
            inputs = encoding.inputs([[one.code for one in example] for example in chosen])
            yield chosen.__getitem__, self.run(inputs)

    def _compared(self, asked: Sequence[Shown]) -> Iterator[Answers]:
        """Every pair of functions, each of which is encoded once."""
        assert self.comparison is not None
        vectors = self._vectors(asked)
        for first in track(range(len(asked) - 1), description="compare", unit="function"):
            for start in range(first + 1, len(asked), BLOCK):

                def pair(place: int, first: int = first, start: int = start) -> Example:
                    return asked[first], asked[start + place]

                yield pair, self.comparison.compare(vectors[[first]], vectors[start : start + BLOCK])

    def _vectors(self, asked: Sequence[Shown]) -> NDArray[np.float32]:
        """What is compared, ``(functions, width)``."""
        assert self.comparison is not None
        if len(asked) < 2:
            return np.empty((len(asked), 0), dtype=np.float32)
        encoding = encoding_of(self.folder, self.spec)
        rows = [encoding.row(one.code) for one in asked]
        alone = Encoded.of_rows(rows, replace(read_vocabulary(self.folder), sides_apart=False))
        found: dict[int, NDArray[np.float32]] = {}
        batches = sorted_batches(alone.lengths, BATCH, BATCH_TOKENS)
        for chosen in track(batches, description="encode", unit="batch"):
            even = np.append(chosen, chosen[-1:]) if len(chosen) % 2 else chosen
            # A model answers about pairs: of an odd number the last one stands there twice.
            found |= dict(zip(even.tolist(), self.comparison.vectors(alone.inputs(even)), strict=True))
        return np.stack([found[place] for place in range(len(asked))])


def _batches(examples: Iterable[Example], size: int) -> Iterator[list[Example]]:
    """So many examples at a time."""
    rest = iter(examples)
    while chosen := list(islice(rest, size)):
        yield chosen


def _place(function: Function) -> dict[str, Any]:
    return {"file": function.file, "function": function.name, "line": function.line}


def _record(example: tuple[Shown, ...]) -> dict[str, Any]:
    if len(example) == 1:
        return _place(example[0].function) | dict(example[0].about)
    sides = zip("ab", example, strict=True)
    return {f"{key}_{side}": value for side, one in sides for key, value in _place(one.function).items()}
