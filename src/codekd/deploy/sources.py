"""The functions of source files, and how tasks show them to models."""

import ast
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codekd.data.bare import bare, without_docstring
from codekd.data.functions import parse
from codekd.data.hole import HOLE
from codekd.data.lexemes import parser_of
from codekd.data.tasks._except_clauses import clauses_of
from codekd.errors import CodekdError

LANGUAGES = {".py": "python", ".pyi": "python", ".c": "c", ".h": "c", ".java": "java"}
FUNCTIONS = {
    "python": ("function_definition",),
    "c": ("function_definition",),
    "java": ("method_declaration", "constructor_declaration"),
}


@dataclass(frozen=True)
class Function:
    """A function in a file: its name, the line that it begins on, and its source at the left margin."""

    file: str
    name: str
    line: int
    code: str


@dataclass(frozen=True)
class Shown:
    """What a model is shown of a function; ``about`` says which part of it is asked about."""

    function: Function
    code: str
    about: Mapping[str, Any]


def language_of(file: Path, said: str | None) -> str:
    """The language of a file, by what a user said or by its suffix.

    Raises:
        CodekdError: neither is known.
    """
    language = said or LANGUAGES.get(file.suffix.lower())
    if language not in FUNCTIONS:
        known = ", ".join(FUNCTIONS)
        raise CodekdError(f"{file}: no functions can be found in {language or 'this'}; give --language, one of {known}")
    return language


def functions_in(source: str, language: str, file: str) -> Iterator[Function]:
    """Every function and method, nested ones too, whatever errors there are around them."""
    text = source.encode()
    pending = [parser_of(language).parse(text).root_node]
    while pending:
        node = pending.pop()
        pending.extend(reversed(node.children))
        if node.type not in FUNCTIONS[language]:
            continue
        whole = node.parent if node.parent is not None and node.parent.type == "decorated_definition" else node
        line = text.rfind(b"\n", 0, whole.start_byte) + 1
        code = textwrap.dedent(text[line : whole.end_byte].decode(errors="replace"))
        yield Function(file, _name(node), whole.start_point.row + 1, code)


def shown(function: Function, kind: str) -> list[Shown]:
    """What a task of some kind shows of a function: for an exception, each clause whose type is to be guessed.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: the task is about Python, and this is none.
    """
    return RECIPES.get(kind, _as_it_is)(function)


def _as_it_is(function: Function) -> list[Shown]:
    return [Shown(function, function.code, {})]


def _without_docstring(function: Function) -> list[Shown]:
    module = parse(function.code)
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            without_docstring(node)
    return [Shown(function, ast.unparse(module), {})]


def _bare(function: Function) -> list[Shown]:
    return [Shown(function, bare(function.code), {})]


def _clauses(function: Function) -> list[Shown]:
    found = []
    for clause in clauses_of(function.code):
        line = function.line + clause.before.count("\n")
        found.append(Shown(function, clause.before + HOLE + clause.after, {"clause": line, "caught": clause.type}))
    return found


RECIPES: dict[str, Callable[[Function], list[Shown]]] = {
    "defect": _without_docstring,
    "clone": _bare,
    "exception": _clauses,
    "cubert": _clauses,
}


def _name(node: Any) -> str:
    """Of a function's node; in C it is deep inside the declarator."""
    while node is not None and node.type not in ("identifier", "field_identifier"):
        inner = node.child_by_field_name("name") or node.child_by_field_name("declarator")
        node = inner or (node.named_children[0] if node.type == "parenthesized_declarator" else None)
    return node.text.decode(errors="replace") if node is not None else ""
