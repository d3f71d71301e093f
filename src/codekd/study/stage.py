"""Run one node: check what was asked for, work in a scratch folder, move the files into place, the manifest last."""

import argparse
import errno
import hashlib
import json
import logging
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from codekd.errors import CodekdError
from codekd.study.graph import MANIFEST, identity
from codekd.study.identity import code_digest
from codekd.study.job import Job

LIBRARIES = ("codekd", "torch", "transformers", "tokenizers", "numpy", "pyarrow", "polars", "scikit-learn")
Run = Callable[[Job, Path], dict[str, Any]]

log = logging.getLogger("codekd")


def main(run: Run) -> None:
    """The command of a stage: ``python workflow/scripts/STAGE.py --job JSON --output MANIFEST --log FILE``."""
    parser = argparse.ArgumentParser(description=run.__doc__)
    parser.add_argument("--job", required=True, help="the node as JSON: identity, spec, source, parents")
    parser.add_argument("--output", required=True, type=Path, help="the node's manifest.json")
    parser.add_argument("--log", type=Path, help="file for the log")
    arguments = parser.parse_args()
    execute(run, arguments.job, arguments.output, arguments.log)


def execute(run: Run, job: str, output: Path, log_file: Path | None = None) -> None:
    """Run a stage and exit with code 1 and a readable message when it fails."""
    _start_logging(log_file)
    try:
        run_node(run, json.loads(job), output)
    except CodekdError as error:
        log.error("%s", error)
    except Exception as error:
        # Libraries report a full disk under classes of their own.
        if os.strerror(errno.ENOSPC) not in str(error):
            log.exception("%s failed", output.parent)
        else:
            log.error("No space left on the disk of %s; free some and run the same command again.", output.parent)
    else:
        return
    sys.exit(1)


def run_node(run: Run, node: Mapping[str, Any], output: Path) -> None:
    """Write a node's folder; ``output`` is the manifest in it.

    Raises:
        CodekdError: the node is not the one that ``output`` names, its source changed since it was planned, a parent
            is missing, another process is writing it, or the stage itself found something wrong.
    """
    _check(node, output)
    folder = output.parent
    results = output.parents[len(node["coordinates"]) + 1]
    scratch = results / ".scratch" / f"{node['stage']}-{node['identity']}"
    work = scratch / "output"
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(scratch / "lock", timeout=0):
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            parents = {role: Path(parent["folder"]) for role, parent in node["parents"].items()}
            job = Job(node["stage"], tuple(node["coordinates"]), node["spec"], parents, scratch)
            started = time.time()
            summary = run(job, work)
            manifest = _manifest(node, work, summary, started)
            _publish(work, folder, manifest)
    except Timeout:
        raise CodekdError(f"{folder} is being written by another process; wait for it or end it.") from None
    shutil.rmtree(scratch, ignore_errors=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """A node's manifest.

    Raises:
        CodekdError: the folder has none, or it cannot be read.
    """
    try:
        return json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise CodekdError(f"{folder} is not a finished node: {error}. Delete the folder and run again.") from None


def _check(node: Mapping[str, Any], output: Path) -> None:
    parents = {role: parent["identity"] for role, parent in node["parents"].items()}
    found = identity(node["stage"], node["spec"], node["code"], parents)
    if found != node["identity"] or not output.parent.name.endswith(f"-{found}"):
        raise CodekdError(f"{output}: this job has the identity {found}, another one than its folder; plan it again.")
    if code_digest(node["entries"]) != node["code"]:
        raise CodekdError(f"{output.parent}: the source changed after this job was planned; run the command again.")
    for role, parent in node["parents"].items():
        if read_manifest(Path(parent["folder"]))["identity"] != parent["identity"]:
            raise CodekdError(f"{parent['folder']}, read as {role}, has another identity in its manifest; delete it.")


def _manifest(node: Mapping[str, Any], work: Path, summary: dict[str, Any], started: float) -> dict[str, Any]:
    files = sorted(path for path in work.rglob("*") if path.is_file())
    now = time.time()
    return {
        **{key: node[key] for key in ("stage", "coordinates", "identity", "spec", "code", "entries")},
        "parents": {role: parent["identity"] for role, parent in node["parents"].items()},
        "summary": summary,
        "files": {str(path.relative_to(work)): _size_and_hash(path) for path in files},
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in LIBRARIES},
        "host": {"name": platform.node(), "platform": platform.platform(), "cores": os.cpu_count()},
        "started": _timestamp(started),
        "finished": _timestamp(now),
        "seconds": round(now - started, 3),
    }


def _publish(work: Path, folder: Path, manifest: dict[str, Any]) -> None:
    """Move the files into place; the manifest, which makes the node count as done, comes last."""
    (work / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in (*manifest["files"], MANIFEST):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).replace(folder / name)


def _size_and_hash(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _start_logging(file: Path | None) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(file, mode="w"))
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers, force=True)
    for noisy in ("filelock", "matplotlib", "fontTools", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
