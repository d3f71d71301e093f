"""Functions of a source file by the tree-sitter grammar of its language, whatever errors surround them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codekd.data.functions import at_margin
from codekd.data.languages import GRAMMARS, parser_of

if TYPE_CHECKING:
    from tree_sitter import Node

UNNAMED = ("arrow_function", "function_expression", "generator_function")
"""Types of nodes that are JavaScript functions named by the variable, property or key that they are assigned to."""

NAMES = (
    *("identifier", "field_identifier", "property_identifier", "private_property_identifier", "type_identifier"),
    *("destructor_name", "operator_name", "operator_cast", "computed_property_name", "string", "number"),
)


@dataclass(frozen=True)
class Found:
    """Function of a source file.

    Attributes:
        name: its own name, or that of what it is assigned to.
        line: its first line in the file, counted from 1.
        code: its source, moved to the left margin.
        parsed: whether the grammar reads all of it without error.
    """

    name: str
    line: int
    code: str
    parsed: bool


def functions_of(source: str, language: str) -> Iterator[Found]:
    """Every function and method that has a name, nested ones included, outer ones before inner ones."""
    text = source.encode()
    for node in _nodes(text, language):
        if node.type not in GRAMMARS[language].functions or not (name := _name(node)):
            continue
        whole = _statement(node)
        indentation, start = text[_line_start(text, node) : node.start_byte], whole.start_byte
        if not text[_line_start(text, whole) : start].strip():
            start = _line_start(text, whole)
        lines = text[start : whole.end_byte].decode().split("\n")
        code = at_margin(lines, "" if indentation.strip() else indentation.decode())
        yield Found(name, whole.start_point.row + 1, code, not node.has_error)


def errors(source: str, language: str) -> int:
    """Number of places in a source file that the grammar of its language cannot read."""
    return sum(node.is_error or node.is_missing for node in _nodes(source.encode(), language))


def _nodes(text: bytes, language: str) -> "Iterator[Node]":
    """Every node in preorder, without recursion: code nests deeper than Python's stack."""
    pending = [parser_of(language).parse(text).root_node]
    while pending:
        node = pending.pop()
        pending.extend(reversed(node.children))
        yield node


def _line_start(text: bytes, node: "Node") -> int:
    return text.rfind(b"\n", 0, node.start_byte) + 1


def _statement(node: "Node") -> "Node":
    """Node of a function together with its decorators, its template parameters, or the name that it is assigned to."""
    outer = node.parent
    assert outer is not None
    if outer.type == "variable_declarator":
        statement = outer.parent
        return statement if statement is not None and statement.named_child_count == 1 else node
    belongs = ("decorated_definition", "template_declaration", "pair", "field_definition", "public_field_definition")
    return outer if outer.type in belongs else node


def _name(node: "Node") -> str:
    """Name of a function, empty if it has none; in C the name is deep inside the declarator."""
    found: Node | None = node
    if node.type in UNNAMED and node.child_by_field_name("name") is None:
        fields = (
            [node.parent.child_by_field_name(field) for field in ("name", "property", "key", "left")]
            if node.parent
            else []
        )
        found = next((field for field in fields if field is not None and field != node), None)
    while found is not None and found.type not in NAMES:
        inner = found.child_by_field_name("name") or found.child_by_field_name("declarator")
        if inner is None and found.type in ("parenthesized_declarator", "reference_declarator", "member_expression"):
            inner = found.named_children[-1]
        found = inner
    return found.text.decode() if found is not None and found.text is not None else ""
