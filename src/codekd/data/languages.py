"""Programming languages with a tree-sitter grammar, and the types of the nodes that are functions in each.

No heavy imports: models of the config use this module.
"""

import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from codekd.errors import CodekdError

if TYPE_CHECKING:
    import tree_sitter

Language = Literal["python", "c", "cpp", "java", "javascript", "typescript", "go", "plain"]
"""Language of a task's code; ``plain`` stands for any other."""


@dataclass(frozen=True)
class Grammar:
    """Tree-sitter grammar of a language.

    Attributes:
        package: Python package of the grammar.
        suffixes: suffixes of the language's files.
        functions: types of the nodes that are functions.
        entry: name of the package's function that returns the grammar.
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
"""Grammars by language; ``tsx`` is TypeScript with JSX tags."""


def language_of(name: str) -> str | None:
    """Language of a file by its suffix, None if no grammar is known for it."""
    suffix = PurePath(name).suffix.lower()
    return next((language for language, grammar in GRAMMARS.items() if suffix in grammar.suffixes), None)


@cache
def parser_of(language: str) -> "tree_sitter.Parser":
    """Tree-sitter parser of a language, the same object at every call.

    Raises:
        CodekdError: no grammar is known for the language.
    """
    import tree_sitter

    if language not in GRAMMARS:
        raise CodekdError(f"no grammar for the language {language!r}: choose {', '.join(GRAMMARS)} or plain")
    grammar = GRAMMARS[language]
    entry = getattr(importlib.import_module(grammar.package), grammar.entry)
    return tree_sitter.Parser(tree_sitter.Language(entry()))
