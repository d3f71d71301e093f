"""Run nodes: check what was asked for, work in scratch folders, move the files into place, the manifests last."""

import argparse
import errno
import json
import logging
import os
import platform
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from codekd.errors import CodekdError
from codekd.study.claim import claimed
from codekd.study.content import digest_of
from codekd.study.graph import RUN_A_MODEL, identity
from codekd.study.identity import code_digest, module_digests
from codekd.study.job import ERROR, Job, full_name, scratch_folder
from codekd.study.lease import VISIBLE, gpus_for, leased_gpus
from codekd.study.manifest import MANIFEST, read_manifest, size_and_hash, write_manifest, wrong_files

ON_GPU = (*RUN_A_MODEL, "verified")
FORCE, TIME_LIMIT = "CODEKD_FORCE", "CODEKD_TIME_LIMIT"
LESS_MEMORY = "run fewer jobs at a time (--cores), or lower `batch_tokens` and `max_length`."
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
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    nodes = [json.loads(job) for job in jobs]
    try:
        run_nodes(run, nodes, outputs, unread)
    except (Exception, KeyboardInterrupt) as error:
        _fail(nodes, outputs, error)
        sys.exit(1)


def _fail(nodes: Sequence[Mapping[str, Any]], outputs: Sequence[Path], error: BaseException) -> None:
    """Say what went wrong, and leave it in the nodes' scratch folders."""
    folder = outputs[0].parent
    message = f"{folder} failed: {type(error).__name__}: {error}"
    if isinstance(error, CodekdError):
        message = str(error)
    elif isinstance(error, KeyboardInterrupt):
        message = f"{folder} was stopped. The same command goes on where it last saved something."
    elif isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        message = f"{folder} needs more memory than there is; {LESS_MEMORY}"
    elif os.strerror(errno.ENOSPC) in str(error):
        # Libraries report a full disk under classes of their own.
        message = f"No space left on the disk of {folder}; free some and run the same command again."
    else:
        log.error("", exc_info=error)
    log.error("%s", message)
    for node, output in zip(nodes, outputs, strict=True):
        with suppress(OSError):
            scratch = scratch_folder(_results(node, output), _name(node))
            scratch.mkdir(parents=True, exist_ok=True)
            (scratch / ERROR).write_text(message)


def run_nodes(
    run: RunTogether, nodes: Sequence[Mapping[str, Any]], outputs: Sequence[Path], unread: str | None = None
) -> None:
    """Write the folders of some nodes; ``outputs`` are the manifests in them.

    Waits for other processes that are writing one of them; what is there in full after that is not made again.

    Raises:
        CodekdError: a node is not the one that its output names, its source changed since it was planned, a parent is
            missing or not as it was written, or the stage itself found something wrong.
    """
    for node, output in zip(nodes, outputs, strict=True):
        _check(node, output)
    results, names = _results(nodes[0], outputs[0]), [_name(node) for node in nodes]
    with ExitStack() as held:
        # In one order, so that no two processes wait for each other.
        for name in sorted(names):
            held.enter_context(claimed(results, name))
        todo = [one for one in zip(names, nodes, outputs, strict=True) if not _made(one[1]["identity"], one[2].parent)]
        if not todo:
            log.info("%s was made by another run.", outputs[0].parent)
            return
        _check_parents([node for _, node, _ in todo], unread)
        jobs = [_job(node, scratch_folder(results, name)) for name, node, _ in todo]
        works = [_empty(job.scratch / "output") for job in jobs]
        for job in jobs:
            (job.scratch / ERROR).unlink(missing_ok=True)
        if jobs[0].stage in ON_GPU:
            held.enter_context(leased_gpus(gpus_for(jobs[0].stage)))
        started = time.time()
        with _time_limit(nodes, outputs):
            summaries = run(jobs, works)
        for (_, node, output), work, summary in zip(todo, works, summaries, strict=True):
            _publish(work, output.parent, _manifest(node, work, summary, started))
        for job in jobs:
            shutil.rmtree(job.scratch, ignore_errors=True)


@contextmanager
def _time_limit(nodes: Sequence[Mapping[str, Any]], outputs: Sequence[Path]) -> Iterator[None]:
    """End the process where work takes longer than ``$CODEKD_TIME_LIMIT`` minutes, and say what it was doing."""
    if not (minutes := float(os.environ.get(TIME_LIMIT, "0"))):
        yield
        return
    main_thread = threading.get_ident()

    def end() -> None:
        log.error("%s", "".join(traceback.format_stack(sys._current_frames()[main_thread])))
        _fail(nodes, outputs, CodekdError(f"{outputs[0].parent} took longer than {minutes:g} min, the ${TIME_LIMIT}."))
        os._exit(1)

    timer = threading.Timer(minutes * 60, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


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
        for path in wrong_files(folder, manifest, unread):
            raise CodekdError(
                f"{path} is not what was written there: it is missing, or its size or SHA-256 is not that in "
                f"{MANIFEST}. Delete {folder} and run again."
            )


def _made(identity: str, folder: Path) -> bool:
    """Whether a node is there in full: another run made it, or this one was killed before Snakemake took note."""
    if os.environ.get(FORCE) or not (folder / MANIFEST).exists():
        return False
    try:
        manifest = read_manifest(folder)
    except CodekdError:
        return False
    return manifest["identity"] == identity and not any(wrong_files(folder, manifest))


def _name(node: Mapping[str, Any]) -> str:
    return full_name(node["stage"], node["coordinates"], node["identity"])


def _results(node: Mapping[str, Any], output: Path) -> Path:
    """The results folder that a node's manifest lies in."""
    return output.parents[len(node["coordinates"]) + 1]


def _job(node: Mapping[str, Any], scratch: Path) -> Job:
    parents = {role: _place(parent) for role, parent in node["parents"].items()}
    return Job(node["stage"], tuple(node["coordinates"]), node["spec"], parents, scratch)


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


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
        "files": {str(path.relative_to(work)): size_and_hash(path) for path in files},
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
    write_manifest(work, manifest)
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in (*manifest["files"], MANIFEST):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).replace(folder / name)


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
