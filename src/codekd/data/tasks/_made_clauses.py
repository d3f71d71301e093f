"""Synthetic ``except`` clauses: put round statements of functions that have none, in the layout that people use.

Which exception is caught there only the teacher says. The handler is that of a clause of the same package.
"""

import ast
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile

from codekd.data.functions import SCOPE, own_statements, parse
from codekd.data.hashing import number
from codekd.data.hole import HOLE
from codekd.data.tasks._made import Function, in_turns
from codekd.data.tokens import code_tokens
from codekd.progress import track

MAX_STATEMENTS = 3
MAX_LINES = 8
MAX_HANDLER_LINES = 4
DRAWN = 4
"""Number of handlers that are drawn, of which the one with the fewest tokens that the function lacks is taken."""

MAY_RAISE = (ast.Call, ast.Subscript, ast.Import, ast.ImportFrom)
BLOCKS = ("body", "orelse", "finalbody")

Lines = tuple[str, ...]
Run = Sequence[ast.stmt]


def made_clauses(functions: Iterable[Function], handlers: Mapping[str, Sequence[Lines]]) -> Iterator[Function]:
    """Package and code of functions after a ``try`` and an ``except`` with a hole were put into them.

    Args:
        functions: package and code of functions without such clauses.
        handlers: handlers of each package; one that has none gets those of the others.
    """
    every = [lines for some in handlers.values() for lines in some]
    for package, code in track(in_turns(functions), description="making except clauses", unit="function"):
        if (text := with_clause(code, handlers.get(package, every))) is not None:
            yield package, text


def handler_of(before: str, after: str) -> Lines | None:
    """Lines of an ``except`` clause from its keyword on, with a hole for the type.

    Args:
        before: source of the function before the type.
        after: source of the function after the type.

    Returns:
        Lines at the left margin, or None where there are too many, or some lack the indentation of the clause.
    """
    margin = _indentation(before.rsplit("\n", 1)[-1])
    header, *rest = after.split("\n")
    inside = list(takewhile(lambda line: not line.strip() or len(_indentation(line)) > len(margin), rest))
    while inside and not inside[-1].strip():
        inside.pop()
    if len(inside) > MAX_HANDLER_LINES or not all(line.startswith(margin) for line in inside):
        return None
    return (f"except {HOLE}{header}", *(line.removeprefix(margin) for line in inside))


def with_clause(code: str, handlers: Sequence[Lines]) -> str | None:
    """Put a ``try`` round a few statements of a function, drawn by hash, and one of the handlers after it.

    Returns:
        Source of the function, or None where no statement may raise anything, or what was drawn does not compile.
    """
    lines = code.split("\n")
    (function,) = parse(code).body
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    unit = _indentation(lines[function.body[0].lineno - 1])
    runs = list(_runs(function, lines))
    if not (runs and unit and handlers):
        return None
    run = runs[number("statements", code) % len(runs)]
    known = set(code_tokens(code))
    drawn = [handlers[number("handler", str(draw), code) % len(handlers)] for draw in range(DRAWN)]
    handler = min(drawn, key=lambda lines: len({*code_tokens("\n".join(lines))} - known))
    first, last = run[0].lineno - 1, run[-1].end_lineno
    margin = _indentation(lines[first])
    tried = [unit + line if line.strip() else line for line in lines[first:last]]
    caught = [margin + line if line.strip() else line for line in handler]
    text = "\n".join([*lines[:first], f"{margin}try:", *tried, *caught, *lines[last:]])
    return text if _compiles(text) else None


def _runs(function: ast.AST, lines: Sequence[str]) -> Iterator[Run]:
    """Runs of statements in one block, on lines of their own, one of which at least may raise something."""
    for node in (function, *own_statements(function)):
        for name in BLOCKS:
            block = getattr(node, name, None) or []
            for start in range(len(block)):
                for end in range(start + 1, min(start + MAX_STATEMENTS, len(block)) + 1):
                    following = block[end].lineno if end < len(block) else len(lines) + 1
                    if _fits(run := block[start:end], following, lines):
                        yield run


def _fits(run: Run, following: int, lines: Sequence[str]) -> bool:
    first, last = run[0].lineno - 1, run[-1].end_lineno or 0
    shown = lines[first:last]
    return (
        len(shown) <= MAX_LINES
        and last < following
        and not lines[first].encode()[: run[0].col_offset].strip()
        and not lines[first].lstrip().startswith("elif")
        # Indenting the lines of such a string would change it.
        and not any('"""' in line or "'''" in line for line in shown)
        and not any(isinstance(statement, SCOPE) for statement in run)
        and any(isinstance(node, MAY_RAISE) for statement in run for node in ast.walk(statement))
    )


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _compiles(text: str) -> bool:
    """Whether a function compiles; it does not if its handler has a ``continue`` and there is no loop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "<made>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError):
            return False
    return True
