"""The examples of files of one's own."""

import polars as pl

from codekd.data.hashing import digest
from codekd.data.labels import UNLABELLED
from codekd.data.records import Row
from codekd.data.splits import LABELLED
from codekd.data.tasks._reading import Example, Files, Frames, Reader, one_hole
from codekd.data.tasks.table import Config


def read(config: Config, files: Files) -> tuple[Frames, dict[str, int]]:
    """See :func:`codekd.data.tasks.table.read`."""
    reader = Reader(config)
    named = (config.code,) if isinstance(config.code, str) else config.code

    def example(row: Row) -> Example:
        pieces = [row.text(name) for name in named]
        if config.hole:
            one_hole(*pieces)
        label = row.label(config.label, reader.classes) if labelled else UNLABELLED
        # What belongs to nothing is a group of its own.
        group = row.name(config.group) if config.group else digest(*pieces)
        return dict(zip(config.columns, pieces, strict=True)) | {"label": label, "group": group}

    frames: Frames = {}
    for role in files:
        labelled = role != "unlabeled"
        frames[role] = reader.frame(reader.accepted(reader.rows(files, role), role, example))
    frames.setdefault("unlabeled", reader.frame(()))
    left_out = reader.left_out()
    if "all" in frames:
        frames |= _by_group(frames.pop("all"), config.shares)
    return frames, left_out


def _by_group(frame: pl.DataFrame, shares: tuple[float, ...]) -> Frames:
    """Whole groups, in the order of a hash, go to train until it has its share, then to valid, then to test."""
    sizes = frame.group_by("group").len().rows()
    before, part = 0.0, {}
    for group, size in sorted(sizes, key=lambda row: digest(row[0])):
        middle = (before + size / 2) / len(frame)
        part[group] = LABELLED[(middle > shares[0]) + (middle > shares[0] + shares[1])]
        before += size
    parts = pl.col("group").replace_strict(part, return_dtype=pl.String)
    return {name: frame.filter(parts == name) for name in LABELLED}
