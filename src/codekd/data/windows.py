"""Stage ``windows``: unlabelled windows of a corpus's functions, which starts of students are pretrained on.

Text is cut at line ends before any tokenizer sees it, so that a window is the same characters for a teacher and for a
student. Files and columns are those of the stage ``examples``, so that the same code reads both: windows to learn from
are ``unlabeled``, windows that a start is evaluated on are ``valid``, and ``train`` and ``test`` are empty.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from codekd.data.code import functions_by_part
from codekd.data.hashing import digest
from codekd.errors import CodekdError

if TYPE_CHECKING:
    from codekd.study.job import Job

COLUMN = "code"
HELD_OUT = 1000
"""Largest number of windows that a start is evaluated on."""

LABEL = 0
"""Placeholder label of the windows in ``valid``, a split that must have labels."""

SCHEMA = {"id": pl.String(), COLUMN: pl.String(), "label": pl.Int32(), "group": pl.String()}


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Write the windows of train and transfer packages as ``unlabeled``, and those of valid packages as ``valid``.

    Test packages give none. Windows are sorted by id, a hash of their text, and the first ``spec["windows"]`` are
    taken, so that a larger number adds to those of a smaller one. A window that train or transfer packages have is
    never held out, whether it is taken or not.

    Returns:
        Number of windows in every file.

    Raises:
        CodekdError: there is no code to learn from, or none to evaluate on.
    """
    corpora = [path for role, path in job.parents.items() if role.startswith("corpus/")]
    functions = functions_by_part(corpora, job.spec["packages"])
    learnt, judged = (_windows(functions[part], job.spec["characters"]) for part in ("train", "valid"))
    judged = judged.join(learnt.select("id"), on="id", how="anti", maintain_order="left")
    frames = {"unlabeled": learnt.head(job.spec["windows"] or len(learnt)), "valid": judged.head(HELD_OUT)}
    for part, packages in (("unlabeled", "train or transfer"), ("valid", "valid")):
        if frames[part].is_empty():
            raise CodekdError(f"{job.name}: no code of packages that the split has for {packages}; give it some there.")
    frames |= {part: pl.DataFrame(schema=SCHEMA) for part in ("train", "test")}
    for part, frame in frames.items():
        frame.select(pl.exclude("label") if part == "unlabeled" else pl.all()).write_parquet(folder / f"{part}.parquet")
    return {part: {"examples": len(frame)} for part, frame in frames.items()}


def _windows(functions: pl.DataFrame, characters: int) -> pl.DataFrame:
    found = {window: package for package, code in functions.iter_rows() for window in cut(code, characters)}
    rows = {"id": [digest(window) for window in found], COLUMN: [*found], "label": LABEL, "group": [*found.values()]}
    return pl.DataFrame(rows, schema=SCHEMA).sort("id")


def cut(code: str, characters: int) -> Iterator[str]:
    """Cut code into windows of as many whole lines as fit into ``characters``; only a longer line is cut within.

    Together with the line breaks between them, windows make up the code; blank ones are left out.
    """
    lines: list[str] = []
    length = 0
    for line in _short_lines(code, characters):
        if lines and length + 1 + len(line) > characters:
            yield from _with_text(lines)
            lines, length = [], 0
        length += len(line) + (1 if lines else 0)
        lines.append(line)
    yield from _with_text(lines)


def _short_lines(code: str, characters: int) -> Iterator[str]:
    for line in code.split("\n"):
        yield from (line[start : start + characters] for start in range(0, max(1, len(line)), characters))


def _with_text(lines: list[str]) -> Iterator[str]:
    window = "\n".join(lines)
    if window.strip():
        yield window
