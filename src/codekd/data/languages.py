"""The programming languages whose grammars are known, and how their functions are told. Light: config models use it."""

import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from codekd.errors import CodekdError

if TYPE_CHECKING:
    import tree_sitter

Language = Literal["python", "c", "cpp", "java", "javascript", "typescript", "go", "plain"]
"""Languages of a task; ``plain`` is any other."""


@dataclass(frozen=True)
class Grammar:
    """A tree-sitter grammar: its package, the ends of files' names, and the types of the nodes that are functions.

    ``entry`` is the package's function that gives it.
    """

    package: str
    suffixes: tuple[str, ...]
    functions: tuple[str, ...]
    entry: str = "language"


_SCRIPT = (
    *("function_declaration", "generator_function_declaration", "method_definition"),
    *("arrow_function", "function_expression", "generator_function"),
)

GRAMMARS = {
    "python": Grammar("tree_sitter_python", (".py", ".pyi"), ("function_definition",)),
    "c": Grammar("tree_sitter_c", (".c", ".h"), ("function_definition",)),
    "cpp": Grammar(
        "tree_sitter_cpp", (".cc", ".cpp", ".cxx", ".c++", ".hh", ".hpp", ".hxx", ".cu"), ("function_definition",)
    ),
    "java": Grammar(
        "tree_sitter_java",
        (".java",),
        ("method_declaration", "constructor_declaration", "compact_constructor_declaration"),
    ),
    "javascript": Grammar("tree_sitter_javascript", (".js", ".mjs", ".cjs", ".jsx"), _SCRIPT),
    "typescript": Grammar("tree_sitter_typescript", (".ts", ".mts", ".cts"), _SCRIPT, "language_typescript"),
    "tsx": Grammar("tree_sitter_typescript", (".tsx",), _SCRIPT, "language_tsx"),
    "go": Grammar("tree_sitter_go", (".go",), ("function_declaration", "method_declaration")),
}
"""Grammars by the names of their languages; ``tsx`` is TypeScript with tags."""


def language_of(name: str) -> str | None:
    """The language of a file by the end of its name."""
    suffix = PurePath(name).suffix.lower()
    return next((language for language, grammar in GRAMMARS.items() if suffix in grammar.suffixes), None)


@cache
def parser_of(language: str) -> "tree_sitter.Parser":
    """The tree-sitter parser of a language.

    Raises:
        CodekdError: there is none here.
    """
    import tree_sitter

    if language not in GRAMMARS:
        raise CodekdError(f"no grammar for the language {language!r}: choose {', '.join(GRAMMARS)} or plain")
    grammar = GRAMMARS[language]
    entry = getattr(importlib.import_module(grammar.package), grammar.entry)
    return tree_sitter.Parser(tree_sitter.Language(entry()))
