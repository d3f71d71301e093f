"""Locks of the nodes that are being written and of running studies: locked files, released when their process ends."""

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
    """Hold the lock of a node, so that no other process writes it; wait for a process that does, and log which it is.

    The lock ends with its process, however that ends.

    Args:
        results: the results folder.
        node: full name of the node, as :func:`codekd.study.job.full_name` makes it.
        reads: identities of nodes that count as in use meanwhile, see :func:`running`.
    """
    if by := holder(results, node):
        log.info("%s is being written by %s; waiting for it", node, by)
    with _locked(_path(results, node), nodes=list(reads)):
        yield


def holder(results: Path, node: str) -> str | None:
    """Process that is writing the node of a full name, e.g. ``process 4711 on node7``; None if there is none."""
    path = _path(results, node)
    if not _held(path):
        return None
    found = _read(path)
    return f"process {found['pid']} on {found['host']}" if "pid" in found else "another process"


def announce(results: Path, identities: Iterable[str]) -> None:
    """Declare, until this process ends, that it runs a study of nodes with these identities.

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
    """Identities of the nodes that running studies and jobs use, which must not be deleted."""
    found: set[str] = set()
    for path in (results / CLAIMS).glob("*.lock"):
        if _held(path):
            found |= {identity_of(path), *_read(path).get("nodes", ())}
    return found - {""}


@contextmanager
def exclusive(results: Path) -> Iterator[None]:
    """Hold the lock that every study takes when it starts, so that none starts inside of the block."""
    with _locked(_path(results, "start")):
        yield


@contextmanager
def _locked(path: Path, **what: Any) -> Iterator[None]:
    """Hold a lock whose file says which process does, with the values of ``what``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path).acquire(poll_interval=POLL_SECONDS):
        path.write_text(json.dumps({"pid": os.getpid(), "host": platform.node(), **what}))
        try:
            yield
        finally:
            # A process that waits notices that the file is gone, and locks a new one.
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
