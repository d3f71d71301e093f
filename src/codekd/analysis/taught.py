"""Stage ``floors`` of a teacher: an n-gram baseline fitted to the teacher's predictions, a control for small students.

Spec: as of the floor; parents: ``examples`` and the teacher's ``signals/logits``. The model is that of the floor. It is
fitted to what students of ``pseudo`` see: the whole transfer set with the teacher's predictions, also where an example
has a label. The threshold of pairs is the one whose predictions agree best with the teacher's on the transfer set, by
F1; validation labels, on which the floor's own threshold is chosen, are not read.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from codekd.analysis.floors import fit_floor, write_floor
from codekd.data.read import read_examples
from codekd.data.splits import EVALUATED, TRANSFER
from codekd.signals.format import read_signal

if TYPE_CHECKING:
    from codekd.study.job import Job


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Fit a floor to the teacher's predictions, and write the floor's scores and test predictions."""
    columns, classes = job.spec["columns"], job.spec["classes"]
    parts = [read_examples(job.parents["examples"], split, columns, classes) for split in TRANSFER]
    transfer = pl.concat([part.select("id", *columns) for part in parts])
    logits = read_signal(job.parents["signals/logits"], TRANSFER, "logits", transfer["id"].to_list())
    transfer = transfer.with_columns(label=pl.Series(logits.values.argmax(1), dtype=pl.Int32))
    frames = {split: read_examples(job.parents["examples"], split, columns, classes) for split in EVALUATED}
    floor = fit_floor({"train": transfer, "valid": transfer}, len(classes), columns, job.spec["has_hole"])
    return write_floor(floor, frames, job.spec["metric"], len(classes), folder)
