"""Who writes a node, and which studies are running: files that are locked as long as their process lives."""

import atexit
import json
import logging
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from codekd.errors import CodekdError
from codekd.study.folders import identity_of

CLAIMS = ".claims"
POLL_SECONDS = 0.5

log = logging.getLogger("codekd")


@contextmanager
def claimed(results: Path, node: str, reads: Iterable[str] = ()) -> Iterator[None]:
    """While this lasts no other process writes the node of that name; waits for one that does, and says which it is.

    Nodes with the identities that it ``reads`` are in use meanwhile. A claim ends with its process, however that ends.
    """
    if by := holder(results, node):
        log.info("%s is being written by %s; waiting for it", node, by)
    with _locked(_path(results, node), nodes=list(reads)):
        yield


def holder(results: Path, node: str) -> str | None:
    """The process that writes a node, e.g. ``process 4711 on node7``, or None where nobody does."""
    path = _path(results, node)
    if not _held(path):
        return None
    found = _read(path)
    return f"process {found['pid']} on {found['host']}" if "pid" in found else "another process"


def announce(results: Path, identities: Iterable[str]) -> None:
    """Say until this process ends that it runs a study of these nodes.

    Raises:
        CodekdError: nothing can be written to the results folder.
    """
    locked = _locked(_path(results, f"study-{platform.node()}-{os.getpid()}"), nodes=list(identities))
    stack = ExitStack()
    try:
        with exclusive(results):
            stack.enter_context(locked)
    except OSError as error:
        raise CodekdError(f"nothing can be written to {results}: {error.strerror}") from None
    atexit.register(stack.close)


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
    with _locked(_path(results, "start")):
        yield


@contextmanager
def _locked(path: Path, **what: Any) -> Iterator[None]:
    """Hold a lock whose file says who does, and ``what`` for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path).acquire(poll_interval=POLL_SECONDS):
        path.write_text(json.dumps({"pid": os.getpid(), "host": platform.node(), **what}))
        try:
            yield
        finally:
            # Those who wait see that the file is gone, and take a new one.
            path.unlink(missing_ok=True)


def _path(results: Path, name: str) -> Path:
    return results / CLAIMS / f"{name}.lock"


def _held(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}
