"""Numbers of rows of users' tables, counted once and remembered by the content of the files."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from codekd.errors import CodekdError
from codekd.files import remember, remembered
from codekd.study.content import LocalFile

MEMORY = ".rows.json"


def count(files: Iterable[LocalFile], results: Path) -> int:
    """Total number of rows of tables, unusable rows included; a file that cannot be read counts as 0."""
    known = remembered(results / MEMORY)
    found = {file: known.get(file.sha256) for file in files}
    if new := {file.sha256: _rows(file.path) for file, rows in found.items() if rows is None}:
        remember(known | new, results / MEMORY)
    return sum(new[file.sha256] if rows is None else rows for file, rows in found.items())


@cache
def _rows(path: Path) -> int:
    from codekd.data.readers import rows_of

    try:
        return sum(1 for _ in rows_of([path]))
    except CodekdError:
        return 0  # the stage that reads it says what is wrong
