"""Export of a trained model to ONNX, with tokenizer or lexer and settings, checked against PyTorch on real examples."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from codekd.data.batches import Encoded, Rows, load_encoded
from codekd.data.inputs import Inputs
from codekd.deploy.runtimes import (
    COMPARE,
    INSTALL,
    MODEL,
    SMALL,
    Run,
    onnx_is_installed,
    quantize,
    session,
    sides_apart,
    threads_of_torch,
    torch_run,
    write_comparison,
    write_onnx,
)
from codekd.deploy.timing import ratio, spread, take_turns
from codekd.errors import CodekdError
from codekd.models import register  # noqa: F401  (registers the classes)
from codekd.models.vocabulary import copy_tokenizer, reads_lexemes
from codekd.study.folders import folder_of
from codekd.study.manifest import check_files, read_manifest

SETTINGS = "codekd.json"
TEMPLATE = Path(__file__).with_suffix(".md.j2")
EXAMPLES, IN_A_ROW, ASKED, BATCH = 64, 8, 256, 16
"""Numbers of examples: compared by logits and times, of these in a row before another runtime's turn, compared by
predictions, and in a batch.
"""

TOLERANCE = 1e-3
"""Largest allowed difference of a logit to PyTorch's, relative to the largest logit where that is above 1."""

FASTER, AGREEMENT = 0.95, 0.99
"""Conditions for keeping eight bits: the largest share of float32's time, and the smallest share of validation examples
with equal predictions.
"""


@dataclass(frozen=True)
class Cell:
    """A trained teacher or student, with its inputs.

    Attributes:
        folder: the model's folder.
        manifest: content of the model's ``manifest.json``.
        encoded: folder of the ``encoded`` node that the model was trained on.
        spec: spec of that node, which says how code becomes token sequences.
        kind: kind of the model's task.
    """

    folder: Path
    manifest: Mapping[str, Any]
    encoded: Path
    spec: Mapping[str, Any]
    kind: str

    @classmethod
    def load(cls, folder: Path) -> "Cell":
        """Load a cell from its folder, and find its inputs among the results around it.

        Raises:
            CodekdError: the folder is no trained model, or its files or those of its inputs are not as they were
                written.
        """
        manifest = read_manifest(folder)
        if manifest["stage"] not in ("students", "teachers") or "training" not in manifest["spec"]:
            raise CodekdError(
                f"{folder} is of the stage {manifest['stage']!r} and no trained model; give the folder of a student or "
                "of a fine-tuned teacher, such as results/students/.../seed1-ab12..."
            )
        results = folder.resolve().parents[len(manifest["coordinates"])]
        encoded = folder_of(results, manifest["parents"]["encoded"])
        read = read_manifest(encoded)
        check_files(folder, manifest)
        check_files(encoded, read)
        examples = folder_of(results, read["parents"]["examples"])
        return cls(folder, manifest, encoded, read["spec"], read_manifest(examples)["spec"]["task"]["kind"])

    @property
    def name(self) -> str:
        """Coordinates of the cell, such as ``exception/minilm/bigru-1.5m/ckd/seed1``."""
        return "/".join(self.manifest["coordinates"])

    def model(self) -> PreTrainedModel:
        """Load the model, in evaluation mode."""
        disable_progress_bar()
        return AutoModelForSequenceClassification.from_pretrained(self.folder, local_files_only=True).eval()


def export(cell: Cell, out: Path) -> dict[str, Any]:
    """Write ``model.onnx``, its tokenizer or lexer, its settings, and ``model.int8.onnx`` where that is faster here.

    Of a model that encodes the sides of a pair apart, the half that compares them is written too, as
    ``compare.onnx``, for searches over many pairs.

    The model in eight bits is kept where it takes at most 0.95 of float32's time and predicts the same class on at
    least 99 % of up to 256 validation examples.

    Args:
        cell: the model.
        out: folder to write into; files of an earlier export are replaced.

    Returns:
        Measurements on validation examples: the largest difference of a logit to PyTorch's, milliseconds an example,
        one at a time on one thread and without tokenization, whether the machine was busy, and sizes of the files.

    Raises:
        CodekdError: ONNX is not installed, or gives other logits than PyTorch.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as temporary:
        work = Path(temporary)
        copy_tokenizer(cell.encoded, work)
        measured = convert(cell.model(), load_encoded(cell.encoded, ["valid"]), work)
        keys = ("classes", "columns", "has_hole", "language", "max_length", "prefix")
        reads = {key: cell.spec[key] for key in keys if key in cell.spec}
        about = {"cell": cell.name, "identity": cell.manifest["identity"], "kind": cell.kind, **reads}
        about |= {"measured": measured}
        (work / SETTINGS).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
        config = cell.model().config
        config.id2label = dict(enumerate(cell.spec["classes"]))
        config.label2id = {name: number for number, name in enumerate(cell.spec["classes"])}
        config.save_pretrained(work)
        (work / "README.md").write_text(_readme(cell, work, measured))
        for name in (SMALL, COMPARE):
            (out / name).unlink(missing_ok=True)
        for path in work.iterdir():
            path.replace(out / path.name)
    return measured


def _readme(cell: Cell, folder: Path, measured: Mapping[str, Any]) -> str:
    """README of an export: how to use the files with this package and without it."""
    template = Environment(trim_blocks=True, autoescape=False).from_string(TEMPLATE.read_text())  # noqa: S701 (Markdown)
    return template.render(
        name=cell.name,
        classes=cell.spec["classes"],
        measured=measured,
        small=(folder / SMALL).exists(),
        compare=(folder / COMPARE).exists(),
        lexical=reads_lexemes(folder),
        pair=len(cell.spec["columns"]) == 2,
        hole=cell.spec["has_hole"],
    )


def convert(model: PreTrainedModel, data: Encoded, out: Path) -> dict[str, Any]:
    """Write a model's ONNX files and check their logits: the part of :func:`export` that needs no cell.

    Args:
        model: the model, in evaluation mode.
        data: encoded examples on which ONNX is compared with PyTorch.
        out: folder to write into.

    Returns:
        The measurements of :func:`export`.

    Raises:
        CodekdError: as in :func:`export`.
    """
    if not onnx_is_installed():
        raise CodekdError(f"export needs onnx, onnxscript and onnxruntime: {INSTALL}")
    rows = spread(data.lengths, EXAMPLES)
    write_onnx(model, data.inputs(rows[-4:]), out / MODEL)
    quantize(out / MODEL, out / SMALL)
    with threads_of_torch(1):
        measured = _measured(torch_run(model), session(out / MODEL), session(out / SMALL), data)
    if not measured["largest_difference"] <= TOLERANCE * measured.pop("largest_logit"):
        difference = measured["largest_difference"]
        raise CodekdError(f"{out / MODEL} gives logits that differ from PyTorch's by up to {difference:.2g}.")
    if not measured["int8_kept"]:
        (out / SMALL).unlink()
    if sides_apart(model):
        write_comparison(model, out / COMPARE)
    written = [path for path in (out / MODEL, out / SMALL, out / COMPARE) if path.exists()]
    measured["megabytes"] = {path.name: round(path.stat().st_size / 1e6, 2) for path in written}
    return measured


def _measured(by_torch: Run, by_onnx: Run, by_int8: Run, data: Encoded) -> dict[str, Any]:
    rows = spread(data.lengths, EXAMPLES)
    alone = [data.inputs(rows[[index]]) for index in range(len(rows))]
    pairs = [(by_torch(batch), by_onnx(batch)) for batch in (*alone, *_batches(data, rows))]
    runs = {"pytorch": by_torch, "onnx": by_onnx, "int8": by_int8}
    times = take_turns([[_answering(run, alone)] for run in runs.values()], len(alone), IN_A_ROW)
    wall, cpu = times.wall[..., 0], times.cpu[..., 0]
    share = 1 / ratio(cpu[:, 1], cpu[:, 2])
    same = [
        by_int8(batch).argmax(1) == by_onnx(batch).argmax(1) for batch in _batches(data, spread(data.lengths, ASKED))
    ]
    agreement = float(np.concatenate(same).mean())
    return {
        "examples": len(rows),
        "largest_difference": float(max(np.abs(one - other).max() for one, other in pairs)),
        "largest_logit": max(1.0, *(float(np.abs(one).max()) for one, _ in pairs)),
        "milliseconds": {
            name: round(1000 * float(seconds), 3) for name, seconds in zip(runs, np.median(wall, 0), strict=True)
        },
        "busy": times.busy,
        "int8_faster": share <= FASTER,
        "int8_agreement": agreement,
        "int8_kept": share <= FASTER and agreement >= AGREEMENT,
    }


def _answering(run: Run, batches: Sequence[Inputs]) -> Callable[[int], object]:
    return lambda turn: run(batches[turn])


def _batches(data: Encoded, rows: Rows) -> list[Inputs]:
    return [data.inputs(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
