"""Functions of Python source files, cut out as text."""

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
SCOPE = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
UP_TO_FORM_FEED = re.compile(r"^[ \t\f]*\f", re.MULTILINE)  # Python counts an indentation anew after it


@dataclass(frozen=True)
class Function:
    """Function or method of a module.

    Attributes:
        qualname: qualified name, as Python gives it.
        code: source with decorators, moved to the left margin so that it parses on its own.
        line: first line in the module, decorators included, counted from 1.
    """

    qualname: str
    code: str
    line: int


def functions_of(source: str) -> Iterator[Function]:
    """Every function, method and nested function of a module, outer ones before inner ones.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: ``ast.parse`` cannot parse the text with this
            Python (Python 2, null bytes, absurd nesting).
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
    """Syntax tree of a module by ``ast.parse``, without warnings about its escapes and comparisons."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Statements, exception handlers and ``match`` cases directly inside a node; cheaper than ``iter_child_nodes``."""
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        children = getattr(node, field, ())
        if isinstance(children, list):
            yield from children


def own_statements(function: ast.AST) -> Iterator[ast.AST]:
    """Statements and exception handlers of a function at any depth, in order, without inner functions and classes."""
    for child in statements(function):
        if not isinstance(child, SCOPE):
            yield child
            yield from own_statements(child)


def at_margin(lines: Sequence[str], indentation: str) -> str:
    """Source of a function moved to the left margin.

    Args:
        lines: all lines of the function.
        indentation: white space to remove from each line; lines of strings and comments may lack it.
    """
    text = "\n".join(line.removeprefix(indentation) for line in lines)
    return text.rstrip("\\ ")  # a backslash that continues the line is an error where no line follows


def _first_line(function: FUNCTION, lines: Sequence[str]) -> int:
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    while function.decorator_list and not lines[first - 1].lstrip().startswith("@"):
        first -= 1  # `lineno` is that of the expression, which may begin on a later line than the `@`
    return first


def _text(function: FUNCTION, lines: Sequence[str], first: int) -> str:
    indentation = lines[function.lineno - 1][: function.col_offset]
    return at_margin(lines[first - 1 : function.end_lineno], indentation)
