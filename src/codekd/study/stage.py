"""Execution of nodes: check the jobs, work in scratch folders, move the files into place, the manifests last."""

import argparse
import atexit
import errno
import gc
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
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from codekd.errors import CodekdError
from codekd.study.claim import claimed
from codekd.study.content import digest_of
from codekd.study.folders import empty
from codekd.study.graph import RUN_A_MODEL, identity
from codekd.study.identity import code_digest, module_digests
from codekd.study.job import ERROR, Job, full_name, scratch_folder
from codekd.study.lease import VISIBLE, gpus_for, leased_gpus
from codekd.study.manifest import (
    check_files,
    manifest_if_finished,
    publish,
    read_manifest,
    size_and_hash,
    timestamp,
    wrong_files,
)

ON_GPU = (*RUN_A_MODEL, "verified", "inference")
FORCE, TIME_LIMIT = "CODEKD_FORCE", "CODEKD_TIME_LIMIT"
GO_ON = "The same command goes on where it last saved something."
LESS_MEMORY = "run fewer jobs at a time (--cores), or lower `batch_tokens` and `max_length`."
UNITS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")
LIBRARIES = (
    "codekd",
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "pyarrow",
    "polars",
    "scikit-learn",
    "onnxruntime",
)
Run = Callable[[Job, Path], dict[str, Any]]
RunTogether = Callable[[Sequence[Job], Sequence[Path]], Sequence[dict[str, Any]]]

log = logging.getLogger("codekd")


@contextmanager
def quick_imports() -> Iterator[None]:
    """Suspend garbage collection during imports, and at exit: saves 1.6 of the 4.7 s until a training starts."""
    gc.disable()
    atexit.register(gc.freeze)
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(f"{sys.argv[0]} was stopped. {GO_ON}")
    gc.freeze()
    gc.enable()


def main(run: Run) -> None:
    """Command line of a stage: ``python workflow/scripts/STAGE.py --job FILE --output MANIFEST --log FILE``."""
    main_together(_one_by_one(run))


def main_together(run: RunTogether) -> None:
    """Command line of a stage that makes several nodes in one job, each with its ``--job`` and its ``--output``."""
    parser = argparse.ArgumentParser(description=run.__doc__)
    parser.add_argument("--job", required=True, nargs="+", type=Path, help="files that say what the nodes are")
    parser.add_argument("--output", required=True, nargs="+", type=Path, help="the nodes' manifest.json, in order")
    parser.add_argument("--log", type=Path, help="file for the log")
    arguments = parser.parse_args()
    _execute(run, arguments.job, arguments.output, arguments.log)


def execute(run: Run, job: Path, output: Path, log_file: Path | None = None, unread: str | None = None) -> None:
    """Run a stage on one node; if it fails, log a readable message and exit with code 1.

    Args:
        run: function that writes the node's files into a folder and returns the summary for its manifest.
        job: the node's job file.
        output: the node's ``manifest.json``.
        log_file: file for the log.
        unread: suffix of files that the stage does not read in its parents' folders, which are not checked.
    """
    _execute(_one_by_one(run), [job], [output], log_file, unread)


def _one_by_one(run: Run) -> RunTogether:
    return lambda jobs, folders: [run(job, folder) for job, folder in zip(jobs, folders, strict=True)]


@dataclass(frozen=True)
class Assignment:
    """Node that is to be written: its record, which :meth:`codekd.study.graph.Node.job` makes, and its folder."""

    node: Mapping[str, Any]
    folder: Path

    @property
    def results(self) -> Path:
        """The results folder."""
        return self.folder.parents[len(self.node["coordinates"])]

    @property
    def name(self) -> str:
        """Full name of the node, under which it is locked."""
        return full_name(self.node["stage"], self.node["coordinates"], self.node["identity"])

    @property
    def scratch(self) -> Path:
        """Folder for what is to survive a killed run."""
        return scratch_folder(self.results, self.name)

    @property
    def work(self) -> Path:
        """Folder in which files are written before they are moved into place."""
        return self.scratch / "output"

    @property
    def job(self) -> Job:
        """Job that the stage is given."""
        parents = {role: _place(parent) for role, parent in self.node["parents"].items()}
        return Job(self.node["stage"], tuple(self.node["coordinates"]), self.node["spec"], parents, self.scratch)


def _execute(
    run: RunTogether, jobs: Sequence[Path], outputs: Sequence[Path], log_file: Path | None, unread: str | None = None
) -> None:
    _start_logging(log_file)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    assignments = [
        Assignment(json.loads(job.read_text()), output.parent) for job, output in zip(jobs, outputs, strict=True)
    ]
    try:
        run_nodes(run, assignments, unread)
    except (Exception, KeyboardInterrupt) as error:
        _fail(assignments, error)
        sys.exit(1)


def _fail(assignments: Sequence[Assignment], error: BaseException) -> None:
    """Log what went wrong, and leave the message in the nodes' scratch folders."""
    folder = assignments[0].folder
    message = f"{folder} failed: {type(error).__name__}: {error}"
    if isinstance(error, CodekdError):
        message = str(error)
    elif isinstance(error, KeyboardInterrupt):
        message = f"{folder} was stopped. {GO_ON}"
    elif isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        message = f"{folder} needs more memory than there is; {LESS_MEMORY}"
    elif os.strerror(errno.ENOSPC) in str(error):
        # Libraries report a full disk under classes of their own.
        message = f"No space left on the disk of {folder}; free some and run the same command again."
    else:
        log.error("", exc_info=error)
    log.error("%s", message)
    for one in assignments:
        # Half-written files are of no use, and on a full disk leave no room for the message.
        shutil.rmtree(one.work, ignore_errors=True)
        with suppress(OSError):
            one.scratch.mkdir(parents=True, exist_ok=True)
            (one.scratch / ERROR).write_text(message)


def run_nodes(run: RunTogether, assignments: Sequence[Assignment], unread: str | None = None) -> None:
    """Write the folders of some nodes, by one run of their stage.

    Waits for other processes that are writing one of them; nodes that are complete after that are not made again.

    Args:
        run: function of the stage, which takes jobs and folders, and returns the summaries for the manifests.
        assignments: the nodes.
        unread: suffix of files in parents' folders that are not checked.

    Raises:
        CodekdError: a node is not the one that its folder names, its source changed since it was planned, a parent is
            missing or not as it was written, or the stage itself found something wrong.
    """
    for one in assignments:
        _check(one)
    with ExitStack() as held:
        # Sorted, so that no two processes wait for each other.
        for one in sorted(assignments, key=lambda each: each.name):
            parents = [parent["identity"] for parent in one.node["parents"].values()]
            held.enter_context(claimed(one.results, one.name, parents))
        todo = [one for one in assignments if not _made(one)]
        if not todo:
            log.info("%s was made by another run.", assignments[0].folder)
            return
        _check_parents(todo, unread)
        for one in todo:
            empty(one.work)
            (one.scratch / ERROR).unlink(missing_ok=True)
        if todo[0].node["stage"] in ON_GPU:
            held.enter_context(leased_gpus(gpus_for(todo[0].node["stage"])))
        started, cpu_started = time.time(), time.process_time()
        with _time_limit(todo):
            summaries = run([one.job for one in todo], [one.work for one in todo])
        cpu_seconds = time.process_time() - cpu_started
        for one, summary in zip(todo, summaries, strict=True):
            publish(one.work, one.folder, _manifest(one, summary, started, cpu_seconds))
        for one in todo:
            shutil.rmtree(one.scratch, ignore_errors=True)


@contextmanager
def _time_limit(assignments: Sequence[Assignment]) -> Iterator[None]:
    """End the process if work takes longer than ``$CODEKD_TIME_LIMIT`` minutes, and log what it was doing."""
    if not (minutes := float(os.environ.get(TIME_LIMIT, "0"))):
        yield
        return
    main_thread = threading.get_ident()

    def end() -> None:
        log.error("%s", "".join(traceback.format_stack(sys._current_frames()[main_thread])))
        _fail(assignments, CodekdError(f"{assignments[0].folder} took longer than {minutes:g} min, the ${TIME_LIMIT}."))
        os._exit(1)

    timer = threading.Timer(minutes * 60, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _check(one: Assignment) -> None:
    node = one.node
    parents = {role: parent["identity"] for role, parent in node["parents"].items()}
    found = identity(node["stage"], node["spec"], node["code"], parents)
    if found != node["identity"] or not one.folder.name.endswith(f"-{found}"):
        raise CodekdError(
            f"{one.folder}: this job has the identity {found}, another one than its folder; plan it again."
        )
    if code_digest(node["entries"]) != node["code"]:
        raise CodekdError(
            f"{one.folder}: the source, or the Python that runs it, is another one than when this job was planned; run "
            "the command again."
        )


def _check_parents(assignments: Sequence[Assignment], unread: str | None) -> None:
    """Check that what the nodes read is what was written: identities, sizes and checksums."""
    parents = {_place(parent): (role, parent) for one in assignments for role, parent in one.node["parents"].items()}
    for place, (role, parent) in parents.items():
        if "file" in parent:
            if digest_of(place) != parent["identity"]:
                raise CodekdError(f"{place} changed after this job was planned; run the command again.")
            continue
        manifest = read_manifest(place)
        if manifest["identity"] != parent["identity"]:
            raise CodekdError(f"{place}, read as {role}, has another identity in its manifest; delete it.")
        check_files(place, manifest, unread)


def _made(one: Assignment) -> bool:
    """Whether a node is complete: another run made it, or this one was killed before Snakemake took note."""
    if os.environ.get(FORCE):
        return False
    try:
        manifest = manifest_if_finished(one.folder)
    except CodekdError:
        return False
    return (
        manifest is not None
        and manifest["identity"] == one.node["identity"]
        and not any(wrong_files(one.folder, manifest))
    )


def _place(parent: Mapping[str, str]) -> Path:
    """Folder of a parent node, or path of a user's file."""
    return Path(parent.get("folder") or parent["file"])


def _manifest(one: Assignment, summary: dict[str, Any], started: float, cpu_seconds: float) -> dict[str, Any]:
    node, work = one.node, one.work
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
            "processor": _processor(),
            "units": _units(),
            "gpus": os.environ.get(VISIBLE) or None,
        },
        "started": timestamp(started),
        "finished": timestamp(now),
        "seconds": round(now - started, 3),
        "cpu_seconds": round(cpu_seconds, 3),
    }


def _units() -> list[str]:
    """Vector and matrix units of the processor, where Linux names them: they round differently, most in bf16."""
    with suppress(OSError):
        found = set(Path("/proc/cpuinfo").read_text().split())
        return [unit for unit in UNITS if unit in found]
    return []


def _processor() -> str | None:
    """Name of the processor, where Linux gives it."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)
    return None


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _start_logging(file: Path | None) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(file, mode="w"))
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers, force=True)
    for noisy in ("filelock", "matplotlib", "fontTools", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
