"""Labels for the functions of source files, from a trained cell or from what was exported of it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from codekd.data.batches import Encoded
from codekd.data.corpus import UNPARSABLE
from codekd.data.encode import Encoding
from codekd.deploy.export import SETTINGS, Cell
from codekd.deploy.runtimes import MODEL, SMALL, Run, session, torch_run
from codekd.deploy.sources import Function, Shown, shown
from codekd.models.vocabulary import read_vocabulary
from codekd.progress import track

BATCH = 32
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Labeller:
    """A model with what it reads: ``spec`` is that of its ``encoded`` node, ``kind`` that of its task."""

    run: Run
    folder: Path
    spec: Mapping[str, Any]
    kind: str

    @classmethod
    def load(cls, folder: Path) -> "Labeller":
        """From a folder that ``codekd export`` wrote, or from a cell.

        Raises:
            CodekdError: it is neither.
        """
        settings = folder / SETTINGS
        if settings.exists():
            spec = json.loads(settings.read_text())
            model = next(path for path in (folder / SMALL, folder / MODEL) if path.exists())
            return cls(session(model), folder, spec, spec["kind"])
        cell = Cell.load(folder)
        return cls(torch_run(cell.model()), cell.encoded, cell.spec, cell.kind)

    def label(self, functions: Iterable[Function]) -> Iterator[dict[str, Any]]:
        """One record for everything that the task asks about, in the order of the functions.

        What cannot be shown to the model, such as Python that does not parse, comes first, with an ``error`` instead of
        a label.
        """
        asked, failed = [], []
        for function in functions:
            try:
                asked += shown(function, self.kind)
            except UNPARSABLE as error:
                reason = getattr(error, "msg", None) or type(error).__name__
                failed.append(_place(function) | {"error": f"the task is about Python, and this is none: {reason}"})
        yield from failed
        pairs = len(self.spec["columns"]) == 2
        examples: list[tuple[Shown, ...]] = [*combinations(asked, 2)] if pairs else [(one,) for one in asked]
        encoding, vocabulary = Encoding(self.folder, self.spec), read_vocabulary(self.folder)
        starts = range(0, len(examples), BATCH)
        for start in track(starts, description="predict", unit="batch"):
            chosen = examples[start : start + BATCH]
            rows = [encoding.row(*(one.code for one in example)) for example in chosen]
            probabilities = softmax(
                self.run(Encoded.of_rows(rows, vocabulary).batch(np.arange(len(rows)), CPU)), axis=1
            )
            for example, values in zip(chosen, probabilities, strict=True):
                yield _record(example) | self._answer(values)

    def _answer(self, probabilities: NDArray[np.floating]) -> dict[str, Any]:
        best = int(probabilities.argmax())
        return {"label": self.spec["classes"][best], "probability": round(float(probabilities[best]), 4)}


def _place(function: Function) -> dict[str, Any]:
    return {"file": function.file, "function": function.name, "line": function.line}


def _record(example: tuple[Shown, ...]) -> dict[str, Any]:
    if len(example) == 1:
        return _place(example[0].function) | dict(example[0].about)
    sides = zip("ab", example, strict=True)
    return {f"{key}_{side}": value for side, one in sides for key, value in _place(one.function).items()}
