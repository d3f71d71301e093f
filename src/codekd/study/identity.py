"""Identity of a node: the digest that names its output.

``identity = sha256(canonical JSON of {stage, spec, code, parents})[:12]``, where ``code`` digests the source that the
node runs: the import closure, inside this package, of the stage's entry modules. Source is compared as a syntax tree
without docstrings and without the descriptions of config fields: comments, formatting and documentation do not count,
renaming a local variable does. The digest of source that parses Python includes the version of Python.
"""

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from codekd.study.canonical import digest

PACKAGE = "codekd"
ROOT = Path(__file__).parents[1]

PYTHON = "python"
"""Key of the version of Python among the digests of modules that parse Python: trees of ``ast`` differ by version."""

WITHOUT_EFFECT = frozenset({"codekd.errors", "codekd.files", "codekd.progress"})
"""Modules that no result depends on, left out of import closures: errors, writing of files, and progress bars."""


def code_digest(entries: Iterable[str]) -> str:
    """Digest of the source in the import closure of some modules of this package, e.g. ``["codekd.methods.kd"]``."""
    return digest(module_digests(entries))


def module_digests(entries: Iterable[str]) -> dict[str, str]:
    """Digest of each module in the import closure of some modules, and the version of Python if one parses Python."""
    modules = closure(frozenset(entries))
    digests = {module: _source_digest(module) for module in sorted(modules)}
    if any(_parses_python(module) for module in modules):
        digests[PYTHON] = ".".join(map(str, sys.version_info[:2]))
    return digests


@cache
def closure(entries: frozenset[str]) -> frozenset[str]:
    """Import closure: the modules of this package that importing ``entries`` may import, ``__init__`` modules included.

    Imports inside functions count; imports under ``if TYPE_CHECKING:`` do not.
    """
    found: set[str] = set()
    todo = set(entries)
    while todo:
        module = todo.pop()
        found.add(module)
        parent = module.rpartition(".")[0]
        todo |= ({parent} if parent else set()) | _imports(module)
        todo -= found | WITHOUT_EFFECT
    return frozenset(found)


@cache
def _path(module: str) -> Path | None:
    """The file of a module of this package, or None where the name is not a module."""
    base = ROOT.joinpath(*module.split(".")[1:])
    candidates = (base / "__init__.py", base.with_name(f"{base.name}.py") if base != ROOT else base)
    return next((path for path in candidates if path.is_file()), None)


@cache
def _tree(module: str) -> ast.Module:
    path = _path(module)
    if path is None:
        raise ModuleNotFoundError(f"{module} is not a module of {PACKAGE}")
    return ast.parse(path.read_bytes(), filename=str(path))


@cache
def _parses_python(module: str) -> bool:
    return any(
        isinstance(node, ast.Import) and any(alias.name == "ast" for alias in node.names)
        for node in _walk_runtime(_tree(module))
    )


@cache
def _imports(module: str) -> frozenset[str]:
    names: set[str] = set()
    for node in _walk_runtime(_tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(module, node)
            names |= {source} | {f"{source}.{alias.name}" for alias in node.names}
    ours = (name for name in names if name.split(".")[0] == PACKAGE)
    return frozenset(name for name in ours if _path(name) is not None)


def _absolute(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    path = _path(module)
    is_package = path is not None and path.name == "__init__.py"
    parts = module.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


def _walk_runtime(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a tree except those under ``if TYPE_CHECKING:``."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield from _walk_runtime(other)
        else:
            yield from _walk_runtime(child)


BESIDE = (".j2", ".css", ".js", ".csv")
"""Suffixes of files that belong to the module whose name they carry; others may be an editor's."""


@cache
def _source_digest(module: str) -> str:
    """Digest of a module's syntax tree and of the files that carry its name (``page.html.j2`` of ``page.py``)."""
    path = _path(module)
    assert path is not None
    beside = sorted(other for other in path.parent.glob(f"{path.stem}.*") if other.suffix in BESIDE and other.is_file())
    files = {other.name: hashlib.sha256(other.read_bytes()).hexdigest() for other in beside}
    return digest([_plain(_tree(module)), files])


def _plain(node: Any) -> Any:
    """A syntax tree as plain lists, equal for all supported versions of Python: positions and empty fields left out."""
    if isinstance(node, list):
        return [_plain(item) for item in node if not _documentation(item)]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, []) and name != "kind"}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Field":
        fields["keywords"] = [keyword for keyword in node.keywords if keyword.arg != "description"]
    return [type(node).__name__, {name: _plain(value) for name, value in fields.items()}]


def _documentation(node: Any) -> bool:
    """Whether a statement is a string alone: a docstring, or the description below a constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
