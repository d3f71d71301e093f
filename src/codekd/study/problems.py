"""Problems of a config, reported with file, line, key and the nearest valid name."""

import difflib
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from codekd.errors import CodekdError

SHORT = reprlib.Repr()
"""Abbreviation of values in messages: a wrong value may be of any size."""
LONGEST = 60
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother = 2, LONGEST, LONGEST

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""YAML loader: the one in C where installed, a hundred times as fast."""

Key = str | int
Place = tuple[Key, ...]


class Problems:
    """Collector of the problems of one config, so that a user sees all of them at once."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._found: list[str] = []

    def add(self, place: Place, message: str) -> None:
        """Add a problem at a place such as ``("students", "bigru-7m", "layers")``."""
        where = _locate(self._files, place)
        line = f"{where}: {'.'.join(str(key)[:LONGEST] for key in place)}: {message}"
        if line not in self._found:
            self._found.append(line)

    def add_unknown(self, place: Place, name: str, known: Iterable[str]) -> None:
        """Add a name that refers to nothing; the message suggests the nearest of the ``known`` ones."""
        self.add(place, f"there is no {_short(name)}; {_nearest(name, known)}")

    def add_validation(
        self, place: Place, error: ValidationError, model: type[BaseModel] | None, others: Iterable[str] = ()
    ) -> None:
        """Add what pydantic found in the value at a place.

        Args:
            place: keys that lead to the value.
            error: the error.
            model: model that the value was validated with, whose fields are suggested for unknown keys.
            others: further keys that are valid there, though the model does not have them.
        """
        for item in error.errors():
            inner = tuple(key for key in item["loc"] if key != "[key]")
            full = place + inner
            if item["type"] == "extra_forbidden":
                fields = [*_fields(model, inner[:-1]), *(others if len(inner) == 1 else ())]
                self.add(full, f"unknown key; {_nearest(str(inner[-1]), fields)}")
            elif item["type"] == "missing":
                self.add(full, "this key is required")
            else:
                message = item["msg"].removeprefix("Value error, ")
                self.add(full, f"{message[0].lower()}{message[1:]} (found {_short(item['input'])})")

    def add_repeated_keys(self) -> None:
        """Add keys that occur twice in one mapping of a file, of which YAML would silently take the last one."""
        for path in self._files:
            for key, lines in _repeated(_composed(path)):
                told = " and ".join(map(str, lines))
                self._found.append(f"{path}, line {lines[-1]}: {key} stands on lines {told}; keep one")

    def raise_any(self) -> None:
        """Raise all problems as one error, if there are any.

        Raises:
            CodekdError: with a line for each problem.
        """
        if self._found:
            raise CodekdError("\n".join(self._found))


def _nearest(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"valid ones are {', '.join(known)}" if known else "nothing may stand here"


def _short(value: Any) -> str:
    return SHORT.repr(value)


def _fields(model: type[BaseModel] | None, inner: Place) -> list[str]:
    """Keys of a model at a place inside it."""
    for key in inner:
        if model is None or key not in model.model_fields:
            return []
        annotation = model.model_fields[str(key)].annotation
        options = (annotation, *get_args(annotation))
        model = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
    return list(model.model_fields) if model else []


def _locate(files: Sequence[Path], place: Place) -> str:
    """File and line of a place, e.g. ``config/my.yaml, line 12``: of the last file that has the longest part of it."""
    best = (-1, f"{files[-1]}" if files else "config")
    for path in files:
        depth, line = _depth_and_line(path, place)
        if depth >= best[0]:
            best = (depth, f"{path}, line {line}")
    return best[1]


def _depth_and_line(path: Path, place: Place) -> tuple[int, int]:
    node, line = _composed(path), 1
    for depth, key in enumerate(place):
        if isinstance(node, yaml.MappingNode):
            entry = next(((k, v) for k, v in node.value if k.value == str(key)), None)
            if entry is None:
                return depth, line
            node, line = entry[1], entry[0].start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            return depth, line
    return len(place), line


def _repeated(node: yaml.Node | None) -> Iterator[tuple[str, list[int]]]:
    """Repeated keys of a mapping, and of those inside, with their lines."""
    seen: set[int] = set()
    pending = [node]
    while pending:
        node = pending.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            lines: dict[str, list[int]] = {}
            for key, value in node.value:
                lines.setdefault(str(key.value), []).append(key.start_mark.line + 1)
                pending.append(value)
            yield from ((key, found) for key, found in lines.items() if len(found) > 1)
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value


@cache
def _composed(path: Path) -> yaml.Node | None:
    try:
        return yaml.compose(path.read_text(), Loader=LOADER)
    except (OSError, yaml.YAMLError):
        return None
