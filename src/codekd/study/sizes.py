"""Numbers of examples and tokens of a node, and bytes of a signal: counted where it is finished, else estimated."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codekd.models.pooling import pooled_width
from codekd.signals.base import UNITS_OF_SYNTAX, Signal, TeacherShape, parse
from codekd.study import components, rows
from codekd.study.content import LocalFile
from codekd.study.graph import Node
from codekd.study.manifest import manifest_if_finished

EXAMPLES = {"train": 8000, "valid": 1200, "test": 1900, "unlabeled": 16000}
"""Examples in each split of an embedded task for which the config sets no limit; those of tables are counted."""

TOKENS = {1: 110, 2: 370}
"""Mean tokens of an example of the embedded tasks, by its number of pieces of code, where the window is long enough.

Examples of public datasets are taken to fill their window.
"""

CHARACTERS = 5
"""Ratio of a task's `max_characters` to the mean number of tokens of its functions."""

WINDOW_CHARACTERS, HELD_OUT_WINDOWS = 123_000_000, 1000
"""Windows of the embedded corpus times their maximum characters, and the number of windows that validate starts."""

FILLED, CHARACTERS_PER_TOKEN = 0.74, 2.75
"""Mean length of a window as a share of the maximum, and characters in a token of a vocabulary of 2,000."""

UNITS_PER_TOKEN = {"lexeme": 0.67, "node": 1.1}
"""Lexemes and syntax nodes for each token of MiniLM in the embedded tasks.

Of lexemes it is 0.60 where text is long (exception) to 0.73 (clone).
"""

FILE_BYTES = 37
"""Bytes of a signal's file for each example, besides the values: the id with its length, a share of the footer."""

UNIT_FILE_BYTES, PIECE_FILE_BYTES = 6, 8
"""Further bytes of a file with a row for every unit, for each example and for each piece of code.

They hold the length of all values, and which units those are.
"""


@dataclass(frozen=True)
class Size:
    """Number of examples and tokens of a split, as a model reads it."""

    examples: int
    tokens: int


def split_sizes(encoded: Node, results: Path) -> dict[str, Size]:
    """Size of each split of an ``encoded`` node."""
    if manifest := manifest_if_finished(results / encoded.folder):
        summary = manifest["summary"]
        return {split: Size(summary[split]["examples"], summary[split]["tokens"]) for split in EXAMPLES}
    counts, window = _examples(encoded.parents["examples"], results), encoded.spec["max_length"]
    if "characters" in (spec := encoded.parents["examples"].spec):
        length = min(window, round(spec["characters"] * FILLED / CHARACTERS_PER_TOKEN))
        return {split: Size(count, count * length) for split, count in counts.items()}
    whole, pieces = _task(encoded.parents["examples"]).official_splits, len(encoded.spec["columns"])
    share = UNITS_PER_TOKEN["lexeme"] if "language" in encoded.spec else 1
    window = window * pieces if "language" in encoded.spec else window
    length = window if whole else min(round(share * TOKENS[pieces]), window)
    if characters := getattr(_task(encoded.parents["examples"]), "max_characters", None):
        length = min(length, round(share * characters / CHARACTERS))
    return {split: Size(count, count * length) for split, count in counts.items()}


def read_sizes(node: Node, results: Path) -> dict[str, Size]:
    """Size of each split as a node reads it, whose spec may limit the unlabelled examples."""
    sizes = split_sizes(node.parents["encoded"], results)
    limit, every = node.spec.get("unlabeled", node.spec.get("unlabeled_states")), sizes["unlabeled"]
    if limit is not None and limit < every.examples:
        sizes["unlabeled"] = Size(limit, every.tokens * limit // every.examples)
    return sizes


def signal_examples(node: Node, results: Path) -> int:
    """Number of examples of which a ``signals`` node captures its signal."""
    splits = parse(node.spec["signal"]).splits
    if "encoded" not in node.parents:
        counts = _examples(node.parents["examples"], results)
        return sum(counts[split] for split in splits)
    sizes = read_sizes(node, results)
    return sum(sizes[split].examples for split in splits)


def signal_bytes(node: Node, results: Path) -> int:
    """Bytes that the files of a ``signals`` node take, or are going to take."""
    if manifest := manifest_if_finished(results / node.folder):
        return sum(file["size"] for file in manifest["files"].values())
    signal, examples = parse(node.spec["signal"]), signal_examples(node, results)
    if not signal.unit:
        return (FILE_BYTES + signal.row_bytes(_shape(node))) * examples
    pieces = len(node.parents["encoded"].spec["columns"]) if signal.unit in UNITS_OF_SYNTAX else 1
    beside = FILE_BYTES + UNIT_FILE_BYTES + PIECE_FILE_BYTES * pieces
    return beside * examples + signal.row_bytes(_shape(node)) * _units(node, signal, results)


def in_bytes(count: float) -> str:
    """Number of bytes as text in decimal units: ``80 B``, ``7.7 kB``, ``2.1 GB``."""
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if count < 999.5:
            break
        count, unit = count / 1000, larger
    return f"{count:.0f} {unit}" if unit == "B" or count >= 9.95 else f"{count:.1f} {unit}"


def _examples(node: Node, results: Path) -> dict[str, int]:
    if manifest := manifest_if_finished(results / node.folder):
        return {split: manifest["summary"][split]["examples"] for split in EXAMPLES}
    if node.stage == "windows":
        # Together they have about as many characters as the packages, whatever the length of a window.
        count = node.spec["windows"] or WINDOW_CHARACTERS // node.spec["characters"]
        return {"train": 0, "valid": HELD_OUT_WINDOWS, "test": 0, "unlabeled": count}
    task = _task(node)
    counts = {**EXAMPLES, **task.expected()}
    if shared_out := getattr(task, "shared_out", None):
        by_role: dict[str, list[LocalFile]] = {}
        for name, file in node.files.items():
            by_role.setdefault(name.split("/")[1], []).append(file)
        counts |= shared_out({role: rows.count(files, results) for role, files in by_role.items()})
    for split, size in counts.items():
        limit = getattr(task.examples, split)
        counts[split] = size if limit is None else min(limit, size)
    return counts | {"unlabeled": counts["unlabeled"] + getattr(task, "made", 0)}


def _task(node: Node) -> Any:
    """Config of the task of an ``examples`` node."""
    return components.parse("tasks", node.spec["task"])


def _shape(node: Node) -> TeacherShape:
    if not {"teacher", "pretrained"} & {*node.parents}:
        # An ensemble or the n-gram baseline, which give logits alone.
        return TeacherShape(len(node.spec["classes"]), 0, 0, 0)
    if "teacher" not in node.parents:
        pretrained, classes = node.parents["pretrained"].spec, len(node.spec.get("classes", ()))
        return TeacherShape(classes, pretrained["layers"], pretrained["width"], pretrained["width"])
    teacher = node.parents["teacher"]
    pretrained = teacher.parents["pretrained"].spec
    width = pooled_width(pretrained["width"], teacher.spec["pooling"])
    return TeacherShape(teacher.spec["classes"], pretrained["layers"], width, pretrained["width"])


def _units(node: Node, signal: Signal, results: Path) -> int:
    """Number of units in the teacher's windows: tokens, or the lexemes or syntax nodes that these cover."""
    sizes = read_sizes(node, results)
    tokens = sum(sizes[split].tokens for split in signal.splits)
    if signal.unit not in UNITS_OF_SYNTAX:
        return tokens
    shown = round(UNITS_PER_TOKEN[signal.unit] * tokens)
    if manifest := manifest_if_finished(results / node.parents["syntax"].folder):
        return min(shown, sum(manifest["summary"][split][f"{signal.unit}s"] for split in signal.splits))
    return shown
