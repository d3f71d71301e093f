"""What a stage is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRATCH, JOBS = ".scratch", ".jobs"
LONGEST = 200
"""Letters of the part of a node's name that is for people."""

ERROR = "error.txt"
"""The file in a scratch folder with what the stage said when it failed."""


def file_roles(files: Mapping[str, Sequence[Path]]) -> dict[str, Path]:
    """A component's files by the roles under which :meth:`Job.files` finds them."""
    return {f"file/{role}/{number}": path for role, paths in files.items() for number, path in enumerate(paths)}


def title(stage: str, coordinates: Sequence[str]) -> str:
    """A node for people, e.g. ``students exception/minilm/bigru-1.5m/kd/seed1``."""
    return f"{stage} {'/'.join(coordinates)}"


def full_name(stage: str, coordinates: Sequence[str], identity: str) -> str:
    """A name that no other node of any study has, short enough for a file."""
    return f"{'-'.join((stage, *coordinates))[:LONGEST]}-{identity}"


def scratch_folder(results: Path, name: str) -> Path:
    """Where the node of that name keeps what is to survive a killed run."""
    return results / SCRATCH / name


@dataclass(frozen=True)
class Job:
    """One node's work: everything a stage needs to know to write its folder.

    ``spec`` holds the values this node uses, after defaults, and nothing else (no paths, device or worker
    counts); it is part of the node's identity. ``parents`` maps a role (``"examples"``, ``"encoded"``,
    ``"signals/logits"``) to the folder that a parent node left behind, or to a file of the
    user's (``"file/train/0"``). ``scratch`` is a folder that survives a killed run, for checkpoints.
    """

    stage: str
    coordinates: tuple[str, ...]
    spec: Mapping[str, Any]
    parents: Mapping[str, Path]
    scratch: Path

    @property
    def name(self) -> str:
        """Stage and coordinates, for messages."""
        return title(self.stage, self.coordinates)

    def files(self) -> dict[str, list[Path]]:
        """The user's files among the parents, by the role that the component gave them."""
        found: dict[str, list[Path]] = {}
        for name, path in self.parents.items():
            if name.startswith("file/"):
                found.setdefault(name.split("/")[1], []).append(path)
        return found
