"""Reading of the user's own files as examples, and their distribution into splits."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from codekd.data.hashing import digest
from codekd.data.labels import UNLABELLED
from codekd.data.records import Row
from codekd.data.splits import LABELLED, UNLABELED
from codekd.data.tasks._reading import Example, Files, Frames, Reader, one_hole
from codekd.data.tasks.table import Config
from codekd.errors import CodekdError


def read(config: Config, files: Files) -> tuple[Frames, dict[str, int]]:
    """Implementation of :func:`codekd.data.tasks.table.read`."""
    reader = Reader(config)
    named = (config.code,) if isinstance(config.code, str) else config.code

    def example(row: Row, labelled: bool) -> Example:
        pieces = [row.code(name) for name in named]
        if config.hole:
            one_hole(*pieces)
        label = row.label(config.label, reader.classes) if labelled else UNLABELLED
        # Without a column of groups, examples belong together only if their code is equal.
        group = row.name(config.group) if config.group else digest(*pieces)
        if labelled:
            reader.unseen(*pieces, label=label)
        return dict(zip(config.columns, pieces, strict=True)) | {"label": label, "group": group}

    frames: Frames = {}
    for role in files:
        labelled = role != UNLABELED
        columns = (*named, *((config.label,) if labelled else ()), *((config.group,) if config.group else ()))
        made = reader.accepted(reader.rows(files, role, columns), role, partial(example, labelled=labelled))
        frames[role] = reader.frame(made)
    frames.setdefault(UNLABELED, reader.frame(()))
    reader.left_out()  # an error about unusable rows goes before one about groups, which they may cause
    if "all" in frames:
        frames = _split(frames, config, reader)
    frames[UNLABELED] = _further(frames, config, reader)
    return frames, reader.left_out()


def _split(frames: Frames, config: Config, reader: Reader) -> Frames:
    """Split the frame ``all`` into train, valid and test; drop unlabelled examples of groups of valid and test."""
    whole = frames["all"]
    groups = _linked(whole, config) if len(config.columns) == 2 and not config.group else whole["group"]
    part = parts_of(dict(groups.value_counts().iter_rows()), config)
    parts = groups.replace_strict(part, return_dtype=pl.String)
    further = frames[UNLABELED]
    kept = further.filter(pl.col("group").replace_strict(part, default=LABELLED[0]) == LABELLED[0])
    reader.unneeded("unlabelled, of a group of valid or test", len(further) - len(kept))
    return {name: whole.filter(parts == name) for name in LABELLED} | {UNLABELED: kept}


def _further(frames: Frames, config: Config, reader: Reader) -> pl.DataFrame:
    """Unlabelled examples, each once, without those whose code is labelled."""
    columns = list(config.columns)
    known = pl.concat([frames[part].select(columns) for part in LABELLED])
    further = frames[UNLABELED]
    kept = further.unique(columns, keep="first", maintain_order=True).join(
        known, columns, "anti", maintain_order="left"
    )
    reader.unneeded("unlabelled, the code of another example", len(further) - len(kept))
    return kept


def parts_of(sizes: Mapping[str, int], config: Config) -> dict[str, str]:
    """Distribute whole groups over train, valid and test.

    Each group, the largest first and equally large ones in the order of a hash, goes to the split that lacks the most
    examples of its share; the last groups go to splits that have none yet.

    Args:
        sizes: number of examples of each group.
        config: of the task, with the ``shares`` of the splits.

    Raises:
        CodekdError: there are fewer groups than splits.
    """
    if len(sizes) < len(LABELLED):
        raise CodekdError(
            f"{config.kind}: {config.group or 'what belongs together'} has {len(sizes)} groups, and three are the "
            "fewest that can be put into train, valid and test: name a file for each, or another `group`"
        )
    lacking = dict(zip(LABELLED, (share * sum(sizes.values()) for share in config.shares), strict=True))
    part: dict[str, str] = {}
    order = sorted(sizes, key=lambda group: (-sizes[group], digest(group)))
    for left, group in zip(range(len(order), 0, -1), order, strict=True):
        empty = [name for name in LABELLED if name not in part.values()]
        part[group] = max(empty if left <= len(empty) else LABELLED, key=lacking.__getitem__)
        lacking[part[group]] -= sizes[group]
    return part


def _linked(frame: pl.DataFrame, config: Config) -> pl.Series:
    """Group of each pair: pairs that share functions, directly or through other pairs, are in one.

    Raises:
        CodekdError: a group has more than the share of train, so that splits cannot keep functions apart.
    """
    codes = pl.concat([frame["code_a"], frame["code_b"]]).rank("dense").to_numpy().astype(np.int64) - 1
    first, second = codes.reshape(2, -1)
    count = int(codes.max(initial=-1)) + 1
    _, found = connected_components(coo_array((np.ones(len(first)), (first, second)), shape=(count, count)))
    groups = pl.Series("group", found[first]).cast(pl.String)
    largest = int(groups.value_counts()["count"].max()) if len(frame) else 0  # type: ignore[arg-type]
    if largest > config.shares[0] * len(frame):
        raise CodekdError(
            f"{config.kind}: {largest:,} of {len(frame):,} pairs hang together by functions that they share, so that "
            "train and test would show the same ones: name a file for each split, or a `group`"
        )
    return groups
