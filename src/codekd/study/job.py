"""Job of a node: the values, folders and files that its stage is given, and the names made from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRATCH, JOBS = ".scratch", ".jobs"
LONGEST = 200
"""Maximum length, in characters, of the part of a full name before the identity."""

ERROR = "error.txt"
"""Name of the file in a scratch folder with the message of a stage that failed."""


def file_roles(files: Mapping[str, Sequence[Path]]) -> dict[str, Path]:
    """Files of a task or a teacher by their role among parents, ``file/<role>/<number>``; see :meth:`Job.files`."""
    return {f"file/{role}/{number}": path for role, paths in files.items() for number, path in enumerate(paths)}


def title(stage: str, coordinates: Sequence[str]) -> str:
    """Stage and coordinates of a node as text for people, e.g. ``students exception/minilm/bigru-1.5m/kd/seed1``."""
    return f"{stage} {'/'.join(coordinates)}"


def full_name(stage: str, coordinates: Sequence[str], identity: str) -> str:
    """Name of a node that no other node of any study has, short enough for a file name."""
    return f"{'-'.join((stage, *coordinates))[:LONGEST]}-{identity}"


def scratch_folder(results: Path, name: str) -> Path:
    """Folder in which the node of a full name keeps what is to survive a killed run, such as checkpoints."""
    return results / SCRATCH / name


@dataclass(frozen=True)
class Job:
    """Work of one node: everything that its stage needs to know to write the node's folder.

    ``spec`` holds the values that the node uses, and nothing else (no paths, device or worker counts); it is part of
    the node's identity. ``parents`` maps a role (``"examples"``, ``"encoded"``, ``"signals/logits"``) to the folder of
    a parent node, or to a file of the user's (``"file/train/0"``). ``scratch`` is a folder that survives a killed run,
    for checkpoints.
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
        """User's files among the parents, by the role that the task or teacher gave them."""
        found: dict[str, list[Path]] = {}
        for name, path in self.parents.items():
            if name.startswith("file/"):
                found.setdefault(name.split("/")[1], []).append(path)
        return found
