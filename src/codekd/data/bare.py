"""Bare code of a function: without docstrings, comments, decorators, annotations and its own name."""

import ast
from typing import TypeVar

from codekd.data.functions import parse

MASKED_NAME = "function"

Documented = TypeVar("Documented", bound=ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def bare(code: str) -> str:
    """Bare code of a function in the layout of ``ast.unparse``; its name is masked, also in calls of itself.

    Args:
        code: source of one Python function.
    """
    module = parse(code)
    (function,) = module.body
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    return ast.unparse(ast.fix_missing_locations(_Bare(function.name).visit(module)))


def undocumented(code: str) -> str:
    """Source of a function without its docstring, in the layout of ``ast.unparse``."""
    module = parse(code)
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            without_docstring(node)
    return ast.unparse(module)


def without_docstring(node: Documented) -> Documented:
    """Remove the docstring of a node in place, and return the node."""
    if ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:] or [ast.Pass()]
    return node


class _Bare(ast.NodeTransformer):
    def __init__(self, name: str) -> None:
        self.name = name

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list = []
        self.generic_visit(node)
        return without_docstring(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        return ast.Assign([node.target], node.value) if node.value else ast.Pass()

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._masked(node.id)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        node.attr = self._masked(node.attr)
        return node

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.decorator_list = []
        node.returns = None
        node.name = self._masked(node.name)
        self.generic_visit(node)
        return without_docstring(node)

    def _masked(self, name: str) -> str:
        return MASKED_NAME if name == self.name else name
