# The study's graph, and the functions that rules look their nodes up with. Nothing heavy is imported here.
import os
import sys
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path

# Of this checkout, also where the workflow is a module of another one.
HERE = Path(str(workflow.current_basedir)).parents[1]
sys.path.insert(0, str(HERE / "src"))

from snakemake.exceptions import WorkflowError

from codekd.errors import CodekdError
from codekd.study import estimate
from codekd.study.claim import announce
from codekd.study.graph import Graph, TOGETHER
from codekd.study.manifest import MANIFEST
from codekd.study.lock import check_pinned
from codekd.study.ran import record
from codekd.study.resolve import load_study
from codekd.study.stage import FORCE
from codekd.study.status import FAILED, status_of


envvars:
    "PATH",


# A manifest that is there is whole: no job may delete it before it has looked whether another run made it.
outputflags:
    update,


RESULTS = Path("results")
STARTED = time.time()
ENVIRONMENT = "../../envs/environment.yaml"

# What jobs inherit: the interpreter that runs Snakemake (an environment made by --sdm comes before it), the source of this
# checkout, no threads or bars that libraries start on their own, and no kernels kept for every length of a batch, which
# take more memory than time to make.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")
os.environ |= {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    "PYTHONPATH": str(HERE / "src"),
    "SCRIPTS": str(HERE / "workflow" / "scripts"),
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def files():
    """The config files, the first of which says where relative paths begin."""
    return [Path(path) for path in workflow.configfiles]


if getattr(workflow.modifier.path_modifier, "prefix", None):
    raise WorkflowError(
        "The results of codekd lie in results/: import the module without a `prefix:`."
    )

try:
    GRAPH = Graph(load_study(config, files()), RESULTS)
except CodekdError as error:
    raise WorkflowError(f"The config is not valid.\n{error}") from None


wildcard_constraints:
    **{
        name: "[^/]+"
        for name in (
            "corpus",
            "task",
            "windows",
            "vocabulary",
            "size",
            "sequences",
            "teacher",
            "student",
            "method",
            "start",
            "trial",
            "study",
        )
    },
    identity="[0-9a-f]{12}",
    seed="seed[0-9]+",


def manifest(node):
    """The file that makes a node count as done."""
    return str(RESULTS / node.folder / MANIFEST)


def node_of(stage, wildcards):
    """The node of a stage that a rule's wildcards (its coordinates, then its identity) name."""
    *coordinates, identity = wildcards
    folder = f"{stage}/{'/'.join(coordinates)}-{identity}"
    if folder not in GRAPH.by_folder:
        raise WorkflowError(
            f"{RESULTS}/{folder} is no node of this study; `snakemake -n all` lists them."
        )
    return GRAPH.by_folder[folder]


def parents_of(nodes):
    """The manifests of the parents of some nodes. Their identity is in their path, so age does not matter."""
    paths = [manifest(parent) for node in nodes for parent in node.parents.values()]
    return [ancient(path) for path in dict.fromkeys(paths)]


def parents(stage):
    """Input function of a stage: the manifests of a node's parents."""
    return lambda wildcards: parents_of([node_of(stage, wildcards)])


def more_each_time(amount):
    """A resource of which a job that is tried again gets more; memory is in MB, time in minutes of a cluster's."""
    return lambda wildcards, attempt: amount * attempt


def unfinished(stage):
    """The missing nodes of a stage that are made in one go: ``(what their coordinates begin with, nodes)``.

    A job on a cluster reads this again, when another run may have made its nodes: its rule must be there all the same.
    """
    groups = {}
    for node in GRAPH.stage(stage):
        groups.setdefault(node.coordinates[: TOGETHER[stage]], []).append(node)
    missing = {
        group: estimate.missing(nodes, RESULTS) for group, nodes in groups.items()
    }
    is_job = not workflow.is_main_process
    return [
        (group, missing[group] or nodes)
        for group, nodes in groups.items()
        if missing[group] or is_job
    ]


def log_of(node):
    """The file with what a node's stage said; stages that make several nodes in one go have one for all."""
    if node.stage in TOGETHER:
        shared = node.coordinates[: TOGETHER[node.stage]]
        return f"{RESULTS}/logs/{'/'.join([node.stage, *shared])}.log"
    return f"{RESULTS}/logs/{node.folder}.log"


@contextmanager
def plainly():
    """What is wrong, without a traceback."""
    try:
        yield
    except CodekdError as error:
        raise WorkflowError(str(error)) from None


def job(stage):
    """Params function of a stage: the file with all that its script is told."""
    return lambda wildcards: job_file(node_of(stage, wildcards))


def job_file(node):
    """The file of a node's job, which a dry run does not write."""
    if not workflow.dryrun:
        begin()
    with plainly():
        return str(node.job_file(RESULTS, write=not workflow.dryrun))


def jobs_of(nodes):
    """The same for nodes that are made in one go."""
    return lambda wildcards: [job_file(node) for node in nodes]


@cache
def begin():
    """Check that all has a commit, keep others from deleting what this run uses, and jobs from taking what is forced.

    It comes before the first job: where this workflow is a module of another one, `onstart` is not run.
    """
    if not workflow.is_main_process:
        return
    with plainly():
        check_pinned(GRAPH, files()[0])
        identities = [node.identity for node in GRAPH]
        announce(RESULTS, identities)
        record(RESULTS, GRAPH.report.coordinates[0], dict(config), files(), identities)
    forced = workflow.dag_settings
    if forced.forceall or forced.forcerun or forced.forcetargets:
        os.environ[FORCE] = "1"


def plan():
    """What this run is about to make, and about how long it takes; on a cluster a job counts for a core."""
    settings = workflow.resource_settings
    cores = settings.cores or settings.nodes or 1
    todo = estimate.describe(estimate.missing(GRAPH, RESULTS), cores, RESULTS)
    return f"{GRAPH.report.coordinates[0]}: {todo}"


def failures():
    """What the stages that failed in this run said last; Snakemake's own account of it is long."""
    said = {}
    for one in status_of([*GRAPH], RESULTS):
        log = Path(log_of(one.node))
        if one.state in FAILED and log.exists() and log.stat().st_mtime >= STARTED:
            said[log] = f"{one.node.title} ({log}):\n  {one.detail}"
    return (
        "\n".join(["What failed or was stopped:", *said.values()])
        if said
        else "No stage left a message."
    )


def outcome():
    """Where the report is, or that it is still to be made."""
    page = RESULTS / GRAPH.report.folder / "index.html"
    return (
        f"The report: {page}" if page.exists() else f"Not made yet: the report, {page}"
    )
