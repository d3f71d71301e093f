"""The functions of a Python source file, as text."""

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
SCOPE = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
UP_TO_FORM_FEED = re.compile(r"^[ \t\f]*\f", re.MULTILINE)  # where Python begins to count an indentation anew


@dataclass(frozen=True)
class Function:
    """A function or method: its qualified name as Python gives it, its source with decorators, and its first line.

    The source is moved to the left margin, so that it parses on its own.
    """

    qualname: str
    code: str
    line: int


def functions_of(source: str) -> Iterator[Function]:
    """Every function, method and nested function of a module, outer ones before inner ones.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: what ``ast.parse`` raises for text that this
            Python cannot parse (Python 2, null bytes, absurd nesting).
    """
    source = UP_TO_FORM_FEED.sub("", source)
    lines = source.split("\n")
    pending: list[tuple[ast.AST, str]] = [(parse(source), "")]
    while pending:
        node, prefix = pending.pop()
        inner: list[tuple[ast.AST, str]] = []
        for child in statements(node):
            if isinstance(child, FUNCTION):
                qualname = prefix + child.name
                first = _first_line(child, lines)
                yield Function(qualname, _text(child, lines, first), first)
                inner.append((child, f"{qualname}.<locals>."))
            elif isinstance(child, ast.ClassDef):
                inner.append((child, f"{prefix}{child.name}."))
            else:
                inner.append((child, prefix))
        pending.extend(reversed(inner))


def parse(source: str) -> ast.Module:
    """``ast.parse`` without the warnings about other people's escapes and comparisons."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Statements, handlers and cases directly inside a node; cheaper than ``ast.iter_child_nodes``."""
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        children = getattr(node, field, ())
        if isinstance(children, list):
            yield from children


def own_statements(function: ast.AST) -> Iterator[ast.AST]:
    """Statements and handlers of a function at any depth, in order, without inner functions and classes."""
    for child in statements(function):
        if not isinstance(child, SCOPE):
            yield child
            yield from own_statements(child)


def at_margin(lines: Sequence[str], indentation: str) -> str:
    """Lines of a function at the left margin; those of strings and comments may begin there already."""
    text = "\n".join(line.removeprefix(indentation) for line in lines)
    return text.rstrip("\\ ")  # a continued last line is an error where nothing follows


def _first_line(function: FUNCTION, lines: Sequence[str]) -> int:
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    while function.decorator_list and not lines[first - 1].lstrip().startswith("@"):
        first -= 1  # the expression begins on a later line than its decorator
    return first


def _text(function: FUNCTION, lines: Sequence[str], first: int) -> str:
    indentation = lines[function.lineno - 1][: function.col_offset]
    return at_margin(lines[first - 1 : function.end_lineno], indentation)
