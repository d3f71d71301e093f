"""Functions of source files and notebooks to label, in any language that has a grammar, or files as a whole."""

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
"""Folders of third-party and generated code, which are skipped, as are hidden ones."""


@dataclass(frozen=True)
class Function:
    """A function of a source file, or a file as a whole.

    Attributes:
        file: name of the file.
        name: name of the function; empty for a whole file.
        line: line that the function begins on, from 1; in a notebook that of its cell.
        code: source of the function, moved to the left margin.
        parsed: whether all of the source is valid in its language.
        cell: number of the notebook's cell, from 1; None in other files.
    """

    file: str
    name: str
    line: int
    code: str
    parsed: bool = True
    cell: int | None = None


@dataclass(frozen=True)
class Problem:
    """Reason why a file gets no label; a ``warning`` is a remark on a file that gets labels all the same."""

    file: str
    message: str
    warning: bool = False


Read = Iterator[Function | Problem]


def sources_in(paths: Sequence[Path]) -> Iterator[Path]:
    """Paths of source files: given files as they are, and in folders all files in known languages, sorted by name."""
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
    """The functions of a file, and problems with reading it.

    Args:
        raw: content of the file.
        file: name of the file, for its language and for messages.
        said: language that the user gave; None takes that of the file's name, where a header is C++ if it has fewer
            syntax errors as such.
        whole: return the file as a whole in place of its functions.

    Raises:
        CodekdError: the language is not known.
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
    """Every function and method of a source text, nested ones too, outer ones before inner ones.

    Python is parsed by Python, as the corpora are; Python that does not parse, and other languages, by a grammar.
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
    """Message of a parser's error, without its position."""
    return getattr(error, "msg", None) or str(error) or type(error).__name__


def _whole(text: str, language: str, file: str) -> Read:
    if text.strip():
        yield Function(file, "", 1, text, _parses(text, language))
    else:
        yield Problem(file, "nothing but white space")


def _or_none(read: Iterable[Function | Problem], file: str) -> Read:
    """The same items, and a problem at the end if there is neither a function nor an error among them."""
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
    """Functions in a notebook's code cells, or these cells as a whole; lines for IPython are left empty."""
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
    """Python source of a cell without IPython's commands; empty for a cell that begins with ``%%``."""
    text = source if isinstance(source, str) else "".join(source)
    lines = text.split("\n")
    if text.startswith("%%"):
        return ""
    return "\n".join("" if line.lstrip().startswith(("%", "!", "?")) else line for line in lines)
