"""Stage ``corpus``: the functions of pinned wheels, read as text and never run.

Spec: ``{"wheels": [{"name", "version", "sha256"}, ...]}``. Leaves ``functions.parquet`` with the columns
``package``, ``version``, ``path`` (of the module inside the wheel), ``qualname`` and ``code``.
"""

import lzma
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from codekd.data.decoding import decode
from codekd.data.functions import Function, functions_of
from codekd.data.pins import Pin
from codekd.data.wheels import fetch, open_wheel, resources_folder
from codekd.errors import CodekdError
from codekd.progress import track

if TYPE_CHECKING:
    from codekd.study.job import Job

SCHEMA = pa.schema([(name, pa.string()) for name in ("package", "version", "path", "qualname", "code")])
VENDORED = {"_vendor", "vendor", "vendored", "extern", "third_party"}
MAX_MODULE_BYTES = 8_000_000
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(NotImplementedError, RuntimeError, ValueError, OSError, EOFError),
)
"""Errors that ``zipfile`` and the libraries below it raise for a damaged file."""

UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Fetch the wheels and write one row for every function and method.

    Returns:
        Number of wheels, functions and modules, and of members left out, by reason.
    """
    pins = [Pin.model_validate(wheel) for wheel in job.spec["wheels"]]
    paths = fetch(pins, resources_folder(), job.name)
    counts: Counter[str] = Counter()
    with pq.ParquetWriter(folder / "functions.parquet", SCHEMA, compression="zstd") as writer:
        for pin, path in track(list(zip(pins, paths, strict=True)), description=job.name, unit="wheel"):
            rows = [
                {"package": pin.name, "version": pin.version, "path": module, "qualname": function.qualname}
                | {"code": function.code}
                for module, function in wheel_functions(path, pin, counts)
            ]
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
            counts["functions"] += len(rows)
    return {"wheels": len(pins), **dict(sorted(counts.items()))}


def wheel_functions(path: Path, pin: Pin, counts: Counter[str]) -> Iterator[tuple[str, Function]]:
    """Functions of a wheel, each with the path of its module; modules are in the order of their paths.

    Args:
        path: of the wheel.
        pin: of the wheel.
        counts: is increased for each module read, and for each one left out, by reason.

    Raises:
        CodekdError: the wheel is not the pinned one, or is no readable zip file.
    """
    try:
        with open_wheel(path, pin) as wheel:
            for info in sorted(wheel.infolist(), key=lambda info: info.filename):
                if not info.filename.endswith(".py"):
                    continue
                if reason := _left_out(info):
                    counts[reason] += 1
                    continue
                try:
                    functions = list(functions_of(decode(wheel.read(info), "python")))
                except UNPARSABLE:
                    counts["unparsable modules"] += 1
                    continue
                counts["modules"] += 1
                for function in functions:
                    yield info.filename, function
    except UNREADABLE as error:
        raise CodekdError(
            f"{path}: cannot read this wheel ({error}); remove the file to have it fetched again"
        ) from error


def _left_out(info: zipfile.ZipInfo) -> str | None:
    """Reason why a member of a wheel is not read, None if it is."""
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename or stat.S_ISLNK(info.external_attr >> 16):
        return "unsafe members"
    if info.file_size > MAX_MODULE_BYTES:
        return "oversized modules"
    if VENDORED.intersection(path.parts[:-1]) or "setuptools/_distutils/" in info.filename:
        return "vendored modules"
    return None
