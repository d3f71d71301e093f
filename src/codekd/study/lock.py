"""Lock file of a config: the commits of the models and datasets that it takes from the hub.

Without a commit a name on the hub may come to mean other files, and so no identity: a run needs a commit for each.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import yaml

from codekd.data.sources import Source
from codekd.errors import CodekdError
from codekd.study.base import Model

if TYPE_CHECKING:
    from codekd.study.graph import Graph

Component = TypeVar("Component", bound=Model)

HEADER = "# Commits of what the config beside it takes from the hub. Written by `codekd lock`.\n"


def lock_file(config: Path) -> Path:
    """Path of the lock file of a config: ``paper.lock`` beside ``paper.yaml``."""
    return config.with_suffix(".lock")


def read_lock(config: Path) -> dict[str, str]:
    """Commits by name, such as ``models/microsoft/unixcoder-base@main``, in a config's lock file; none without a file.

    Raises:
        CodekdError: the file is not such a mapping.
    """
    path = lock_file(config)
    if not path.exists():
        return {}
    try:
        lock = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise CodekdError(f"{path} is no YAML: {error}") from None
    if not isinstance(lock, dict) or not all(isinstance(commit, str) for commit in lock.values()):
        raise CodekdError(f"{path} must map names to commits; remove it and run `codekd lock {config}`")
    return lock


def pinned(component: Component, kind: str, lock: Mapping[str, str]) -> Component:
    """Task or teacher with its hub source at the commit in the lock, unchanged if there is none.

    Args:
        component: the ``Config`` of a task or a teacher.
        kind: ``datasets`` for a task, ``models`` for a teacher.
        lock: commits by name.
    """
    source = getattr(component, "source", None)
    if not isinstance(source, Source) or not source.unpinned or (name := _name(kind, source)) not in lock:
        return component
    return component.model_copy(update={"source": source.at(lock[name])})


def unpinned(graph: "Graph") -> list[str]:
    """Names of the models and datasets that nodes of a graph take from the hub without a commit."""
    taken = [("datasets", node.spec["task"].get("source", {})) for node in graph.stage("examples")]
    taken += [("models", node.spec["origin"]) for node in graph.stage("pretrained")]
    sources = [(kind, Source(hub=one["hub"], revision=one["revision"])) for kind, one in taken if "hub" in one]
    return list(dict.fromkeys(_name(kind, source) for kind, source in sources if source.unpinned))


def check_pinned(graph: "Graph", config: Path) -> None:
    """Check that all models and datasets from the hub have a commit, before a run begins.

    Raises:
        CodekdError: one has none.
    """
    if missing := unpinned(graph):
        raise CodekdError(
            f"{config} takes {', '.join(missing)} from the hub, where files may change: run `codekd lock {config}` "
            f"once, with network, to write today's commits into {lock_file(config)}."
        )


def resolve(names: Sequence[str]) -> dict[str, str]:
    """Current commits on the hub, by name.

    Raises:
        CodekdError: the hub cannot be reached, or has no such repository.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    lock = {}
    for name in names:
        kind, _, rest = name.partition("/")
        repository, _, revision = rest.rpartition("@")
        try:
            lock[name] = str(HfApi().repo_info(repository, revision=revision, repo_type=kind.removesuffix("s")).sha)
        except (OSError, HfHubHTTPError, ValueError) as error:
            raise CodekdError(f"cannot ask the hub for {name}: {error}") from None
    return lock


def write_lock(config: Path, lock: Mapping[str, str]) -> Path:
    """Write the lock file of a config and return its path."""
    path = lock_file(config)
    path.write_text(HEADER + yaml.safe_dump(dict(sorted(lock.items()))))
    return path


def _name(kind: str, source: Source) -> str:
    return f"{kind}/{source.hub}@{source.revision}"
