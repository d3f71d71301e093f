"""Lookup of the module behind a definition's ``kind``, by its file name, so that no registry lists them all."""

import importlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from codekd.errors import CodekdError

PACKAGES = {
    "tasks": "codekd.data.tasks",
    "teachers": "codekd.models.teachers",
    "students": "codekd.models.architectures",
    "methods": "codekd.methods",
}
"""Package with the kinds of each section of the config."""

INSIDE = {"starts": "codekd.starts"}
"""Packages with the kinds of definitions inside of others: `start:` in the definition of a student."""


@cache
def kinds(section: str) -> tuple[str, ...]:
    """Kinds of definitions in a section of the config, sorted, e.g. ``("dist", "ft", "kd", "pseudo")`` for methods."""
    package = importlib.import_module(_package(section))
    files = (path.stem for folder in package.__path__ for path in Path(folder).glob("*.py"))
    return tuple(sorted(stem for stem in files if stem != "base" and not stem.startswith("_")))


def module_name(section: str, kind: str) -> str:
    """Full name of the module that implements a kind.

    Raises:
        CodekdError: there is no such kind.
    """
    if kind not in kinds(section):
        raise CodekdError(f"{section}: there is no kind {kind!r}; known kinds are {', '.join(kinds(section))}.")
    return f"{_package(section)}.{kind}"


def _package(section: str) -> str:
    return (PACKAGES | INSIDE)[section]


def load(section: str, kind: str) -> ModuleType:
    """Module that implements a kind; its class ``Config`` is the model of a definition.

    Raises:
        CodekdError: there is no such kind.
    """
    return importlib.import_module(module_name(section, kind))


def parse(section: str, definition: dict[str, Any]) -> Any:
    """Definition (a mapping with a ``kind``) as the ``Config`` of its module.

    Raises:
        CodekdError: there is no such kind.
        ValidationError: pydantic finds the definition not valid.
    """
    return load(section, definition["kind"]).Config.model_validate(definition)
