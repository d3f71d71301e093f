"""What is to be labelled: the functions of source files in any language that has a grammar, or whole files."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codekd.data import grammar
from codekd.data.corpus import UNPARSABLE
from codekd.data.decoding import decode
from codekd.data.functions import functions_of, parse
from codekd.data.languages import GRAMMARS, language_of
from codekd.errors import CodekdError

NOTEBOOK = ".ipynb"
NOT_OWN = {"node_modules", "site-packages", "__pycache__"}
"""Folders among sources that hold what others wrote or what programs made; hidden ones are such, too."""


@dataclass(frozen=True)
class Function:
    """A function in a file: its name, the line that it begins on, and its source at the left margin.

    A whole file has no name. ``cell`` is the number of a notebook's cell, in which lines are counted. ``parsed`` is
    whether all of it could be read as its language.
    """

    file: str
    name: str
    line: int
    code: str
    parsed: bool = True
    cell: int | None = None


@dataclass(frozen=True)
class Problem:
    """Why nothing in a file gets a label; a ``warning`` is what is to be known of what does."""

    file: str
    message: str
    warning: bool = False


Read = Iterator[Function | Problem]


def sources_in(paths: Sequence[Path]) -> Iterator[Path]:
    """Files as they are, and of folders all files in known languages, by name."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in NOT_OWN)
            for name in sorted(names):
                if not name.startswith(".") and (name.lower().endswith(NOTEBOOK) or language_of(name)):
                    yield Path(folder, name)


def read_source(raw: bytes, file: str, said: str | None = None, whole: bool = False) -> Read:
    """The functions of a file, or the ``whole`` of it as one, and what went wrong on the way.

    Its language is the one that the user ``said``, or the one of its name; a header is C++ where that reads it better.

    Raises:
        CodekdError: its language is not known.
    """
    if said is None and file.lower().endswith(NOTEBOOK):
        yield from _or_none(_of_notebook(raw, file, whole), file)
        return
    language = said or language_of(file)
    if language is None or not (language in GRAMMARS or (whole and language == "plain")):
        known = ", ".join(GRAMMARS)
        raise CodekdError(f"{file}: no functions can be found in {language or 'this'}; give --language, one of {known}")
    try:
        text = decode(raw, language)
    except (SyntaxError, ValueError) as error:
        yield Problem(file, f"cannot be read as text: {error}")
        return
    if whole:
        yield from _whole(text, language, file)
        return
    if said is None and file.endswith(".h") and grammar.errors(text, "cpp") < grammar.errors(text, "c"):
        language = "cpp"
    yield from _or_none(functions_in(text, language, file), file)


def functions_in(source: str, language: str, file: str) -> Read:
    """Every function and method, nested ones too, outer ones before inner ones.

    Python is read by Python, as the corpora are; what that cannot parse, and any other language, by its grammar.
    """
    if language == "python":
        try:
            yield from [Function(file, one.qualname, one.line, one.code) for one in functions_of(source)]
            return
        except UNPARSABLE as error:
            where = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
            yield Problem(
                file, f"is no Python{where}: {reason(error)}; functions are looked for around it", warning=True
            )
    for found in grammar.functions_of(source, language):
        yield Function(file, found.name, found.line, found.code, found.parsed)


def reason(error: Exception) -> str:
    """Why text could not be parsed."""
    return getattr(error, "msg", None) or str(error) or type(error).__name__


def _whole(text: str, language: str, file: str) -> Read:
    if text.strip():
        yield Function(file, "", 1, text, _parses(text, language))
    else:
        yield Problem(file, "nothing but white space")


def _or_none(read: Iterable[Function | Problem], file: str) -> Read:
    """The same, and that there is no function, where it is so."""
    count = 0
    for one in read:
        count += isinstance(one, Function) or not one.warning
        yield one
    if not count:
        yield Problem(file, "no function was found")


def _parses(text: str, language: str) -> bool:
    if language != "python":
        return language == "plain" or not grammar.errors(text, language)
    try:
        parse(text)
    except UNPARSABLE:
        return False
    return True


def _of_notebook(raw: bytes, file: str, whole: bool) -> Read:
    """What is in the cells with code; lines that are for IPython are left empty. Cells are counted from 1."""
    try:
        notebook = json.loads(raw)
        spoken = notebook.get("metadata", {}).get("kernelspec", {}).get("language", "python")
        cells = [
            (number, _python_of(cell["source"]))
            for number, cell in enumerate(notebook["cells"], start=1)
            if cell["cell_type"] == "code"
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        yield Problem(file, "is no notebook")
        return
    if spoken.lower() != "python":
        yield Problem(file, f"is a notebook in {spoken}, and only those in Python are read")
        return
    for number, code in cells:
        found = _whole(code, "python", file) if whole else functions_in(code, "python", file)
        for one in found if code.strip() else ():
            if isinstance(one, Function):
                yield replace(one, cell=number)
            else:
                yield replace(one, message=f"cell {number} {one.message}")


def _python_of(source: str | list[str]) -> str:
    """A cell without what IPython does; a cell that begins with ``%%`` is none of Python."""
    text = source if isinstance(source, str) else "".join(source)
    lines = text.split("\n")
    if text.startswith("%%"):
        return ""
    return "\n".join("" if line.lstrip().startswith(("%", "!", "?")) else line for line in lines)
