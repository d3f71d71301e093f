"""Who writes a node, and which studies are running: files that are locked as long as their process lives."""

import atexit
import json
import logging
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from codekd.study.folders import identity_of

CLAIMS = ".claims"
POLL_SECONDS = 0.5

log = logging.getLogger("codekd")


@contextmanager
def claimed(results: Path, node: str) -> Iterator[None]:
    """While this lasts no other process writes the node of that name; waits for one that does, and says which it is.

    A claim ends with its process, however that ends.
    """
    path = _path(results, node)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s is being written by %s; waiting for it", node, holder(results, node) or "another process")
        lock.acquire(poll_interval=POLL_SECONDS)
    try:
        _write(path)
        yield
    finally:
        # Those who wait see that the file is gone, and take a new one.
        path.unlink(missing_ok=True)
        lock.release()


def holder(results: Path, node: str) -> str | None:
    """The process that writes a node, e.g. ``process 4711 on node7``, or None where nobody does."""
    path = _path(results, node)
    if not _held(path):
        return None
    found = _read(path)
    return f"process {found['pid']} on {found['host']}" if "pid" in found else "another process"


def announce(results: Path, identities: Iterable[str]) -> None:
    """Say until this process ends that it runs a study of these nodes."""
    path = _path(results, f"study-{platform.node()}-{os.getpid()}")
    with exclusive(results):
        lock = FileLock(path)
        lock.acquire()
        _write(path, nodes=list(identities))
    atexit.register(lock.release)
    atexit.register(path.unlink, missing_ok=True)


def running(results: Path) -> set[str]:
    """The identities of the nodes that running studies and jobs use."""
    found: set[str] = set()
    for path in (results / CLAIMS).glob("*.lock"):
        if _held(path):
            found |= {identity_of(path), *_read(path).get("nodes", ())}
    return found - {""}


@contextmanager
def exclusive(results: Path) -> Iterator[None]:
    """While this lasts no study starts."""
    with FileLock(_path(results, "start")):
        yield


def _path(results: Path, name: str) -> Path:
    folder = results / CLAIMS
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.lock"


def _held(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def _write(path: Path, **what: Any) -> None:
    path.write_text(json.dumps({"pid": os.getpid(), "host": platform.node(), **what}))


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}
