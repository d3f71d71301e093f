"""Run nodes: check what was asked for, work in scratch folders, move the files into place, the manifests last."""

import argparse
import errno
import json
import logging
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from codekd.errors import CodekdError
from codekd.study.content import digest_of
from codekd.study.graph import MANIFEST, RUN_A_MODEL, identity
from codekd.study.identity import code_digest, module_digests
from codekd.study.job import Job
from codekd.study.lease import VISIBLE, gpus_for, leased_gpus

ON_GPU = (*RUN_A_MODEL, "verified")
LIBRARIES = ("codekd", "torch", "transformers", "tokenizers", "numpy", "pyarrow", "polars", "scikit-learn")
Run = Callable[[Job, Path], dict[str, Any]]
RunTogether = Callable[[Sequence[Job], Sequence[Path]], Sequence[dict[str, Any]]]

log = logging.getLogger("codekd")


def main(run: Run) -> None:
    """The command of a stage: ``python workflow/scripts/STAGE.py --job JSON --output MANIFEST --log FILE``."""
    main_together(_one_by_one(run))


def main_together(run: RunTogether) -> None:
    """The same for a stage that makes several nodes in one go, each with its ``--job`` and its ``--output``."""
    parser = argparse.ArgumentParser(description=run.__doc__)
    parser.add_argument("--job", required=True, nargs="+", help="nodes as JSON: identity, spec, source, parents")
    parser.add_argument("--output", required=True, nargs="+", type=Path, help="the nodes' manifest.json, in order")
    parser.add_argument("--log", type=Path, help="file for the log")
    arguments = parser.parse_args()
    _execute(run, arguments.job, arguments.output, arguments.log)


def execute(run: Run, job: str, output: Path, log_file: Path | None = None, unread: str | None = None) -> None:
    """Run a stage on one node and exit with code 1 and a readable message when it fails.

    ``unread`` is the suffix of files that the stage does not read in its parents' folders.
    """
    _execute(_one_by_one(run), [job], [output], log_file, unread)


def _one_by_one(run: Run) -> RunTogether:
    return lambda jobs, folders: [run(job, folder) for job, folder in zip(jobs, folders, strict=True)]


def _execute(
    run: RunTogether, jobs: Sequence[str], outputs: Sequence[Path], log_file: Path | None, unread: str | None = None
) -> None:
    _start_logging(log_file)
    folder = outputs[0].parent
    try:
        run_nodes(run, [json.loads(job) for job in jobs], outputs, unread)
    except CodekdError as error:
        log.error("%s", error)
    except Exception as error:
        # Libraries report a full disk under classes of their own.
        if os.strerror(errno.ENOSPC) not in str(error):
            log.exception("%s failed", folder)
        else:
            log.error("No space left on the disk of %s; free some and run the same command again.", folder)
    else:
        return
    sys.exit(1)


def run_nodes(
    run: RunTogether, nodes: Sequence[Mapping[str, Any]], outputs: Sequence[Path], unread: str | None = None
) -> None:
    """Write the folders of some nodes; ``outputs`` are the manifests in them.

    Raises:
        CodekdError: a node is not the one that its output names, its source changed since it was planned, a parent is
            missing or not as it was written, another process is writing it, or the stage itself found something wrong.
    """
    jobs: list[Job] = []
    works: list[Path] = []
    _check_parents(nodes, unread)
    with ExitStack() as locks:
        for node, output in zip(nodes, outputs, strict=True):
            _check(node, output)
            results = output.parents[len(node["coordinates"]) + 1]
            scratch = results / ".scratch" / "-".join((node["stage"], *node["coordinates"], node["identity"]))
            scratch.mkdir(parents=True, exist_ok=True)
            try:
                locks.enter_context(FileLock(scratch / "lock", timeout=0))
            except Timeout:
                raise CodekdError(
                    f"{output.parent} is being written by another process; wait for it or end it."
                ) from None
            work = scratch / "output"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            works.append(work)
            parents = {role: _place(parent) for role, parent in node["parents"].items()}
            jobs.append(Job(node["stage"], tuple(node["coordinates"]), node["spec"], parents, scratch))
        if nodes[0]["stage"] in ON_GPU:
            locks.enter_context(leased_gpus(gpus_for(nodes[0]["stage"])))
        started = time.time()
        summaries = run(jobs, works)
        for node, output, work, summary in zip(nodes, outputs, works, summaries, strict=True):
            _publish(work, output.parent, _manifest(node, work, summary, started))
    for job in jobs:
        shutil.rmtree(job.scratch, ignore_errors=True)


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


def _check_parents(nodes: Sequence[Mapping[str, Any]], unread: str | None) -> None:
    """That what the nodes read is what was written: identities, sizes and checksums."""
    parents = {_place(parent): (role, parent) for node in nodes for role, parent in node["parents"].items()}
    for folder, (role, parent) in parents.items():
        if "file" in parent:
            if digest_of(folder) != parent["identity"]:
                raise CodekdError(f"{folder} changed after this job was planned; run the command again.")
            continue
        manifest = read_manifest(folder)
        if manifest["identity"] != parent["identity"]:
            raise CodekdError(f"{folder}, read as {role}, has another identity in its manifest; delete it.")
        for name, written in manifest["files"].items():
            path = folder / name
            if path.suffix != unread and (not path.exists() or _size_and_hash(path) != written):
                raise CodekdError(
                    f"{path} is not what was written there: it is missing, or its size or SHA-256 is not that in "
                    f"{MANIFEST}. Delete {folder} and run again."
                )


def _place(parent: Mapping[str, str]) -> Path:
    """The folder of a node, or a file of the user's."""
    return Path(parent.get("folder") or parent["file"])


def _manifest(node: Mapping[str, Any], work: Path, summary: dict[str, Any], started: float) -> dict[str, Any]:
    files = sorted(path for path in work.rglob("*") if path.is_file())
    now = time.time()
    return {
        **{key: node[key] for key in ("stage", "coordinates", "identity", "spec", "code", "entries")},
        "modules": module_digests(node["entries"]),
        "parents": {role: parent["identity"] for role, parent in node["parents"].items()},
        "summary": summary,
        "files": {str(path.relative_to(work)): _size_and_hash(path) for path in files},
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in LIBRARIES},
        "host": {
            "name": platform.node(),
            "platform": platform.platform(),
            "cores": os.cpu_count(),
            "gpus": os.environ.get(VISIBLE) or None,
        },
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
    return {"size": path.stat().st_size, "sha256": digest_of(path)}


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
