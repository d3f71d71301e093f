"""Stage ``syntax``: lexemes and syntax trees over them, units of code that are the same for every tokenizer."""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tree_sitter

from codekd.data.languages import parser_of
from codekd.data.lexer import PLAIN
from codekd.data.read import REMEMBERED, in_shards, read_examples
from codekd.data.splits import SPLITS
from codekd.data.syntax import Ints, Syntax, write_syntax

if TYPE_CHECKING:
    from codekd.study.job import Job

ATOMIC = frozenset({"string_content", "string_fragment"})
"""Types of nodes that are one lexeme although the grammar gives them children (the escapes in a string)."""

Span = tuple[int, int]


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Write the lexemes and syntax trees of all splits of a task.

    Returns:
        Number of examples, lexemes and nodes of every split.
    """
    summary: dict[str, Any] = {}
    known = lru_cache(REMEMBERED)(partial(parse, language=job.spec["language"]))
    for split in SPLITS:
        examples = read_examples(job.parents["examples"], split, job.spec["columns"])
        counts: Counter[str] = Counter()

        def counted(code: str, counts: Counter[str] = counts) -> Syntax:
            syntax = known(code)
            counts.update(lexemes=len(syntax.starts), nodes=len(syntax.parent))
            return syntax

        shards = in_shards(examples, f"{job.name}, {split}")
        write_syntax(folder / f"{split}.parquet", shards, job.spec["columns"], counted)
        summary[split] = {"examples": len(examples), "lexemes": counts["lexemes"], "nodes": counts["nodes"]}
    return summary


def parse(code: str, language: str) -> Syntax:
    """Lexemes and syntax tree of a piece of code, which need not be valid.

    Lexemes are the leaves of the tree-sitter grammar; text that it skips, and any other language, is read by a plain
    lexer.

    Args:
        code: any text.
        language: one of :data:`codekd.data.languages.Language`.

    Raises:
        CodekdError: the language is unknown.
    """
    builder = _Builder(code)
    if language == "plain":
        builder.enter()
        builder.fill(len(builder.source))
        builder.leave()
    else:
        _walk(parser_of(language).parse(builder.source), builder)
    return builder.finish()


def _walk(tree: tree_sitter.Tree, builder: "_Builder") -> None:
    """Walk a tree depth first, without recursion: code nests deeper than Python's stack."""
    cursor = tree.walk()
    depth = 0
    while True:
        node = cursor.node
        assert node is not None
        if node.type not in ATOMIC and cursor.goto_first_child():
            builder.enter()
            depth += 1
            continue
        builder.leaf(node.start_byte, node.end_byte)
        while depth and not cursor.goto_next_sibling():
            cursor.goto_parent()
            depth -= 1
            if depth == 0:
                builder.fill(len(builder.source))
            builder.leave()
        if depth == 0:
            return


class _Builder:
    """Collector of leaves and nodes in the order in which a walk meets them; positions are bytes until the end."""

    def __init__(self, code: str) -> None:
        self.source = code.encode(errors="replace")
        self._code = code
        self._spans: list[Span] = []
        self._first: list[int] = []
        self._last: list[int] = []
        self._parent: list[int] = []
        self._open: list[int] = []
        self._position = 0

    def enter(self) -> None:
        self._parent.append(self._open[-1] if self._open else -1)
        self._open.append(len(self._first))
        self._first.append(len(self._spans))
        self._last.append(-1)

    def leave(self) -> None:
        self._last[self._open.pop()] = len(self._spans)

    def leaf(self, start: int, end: int) -> None:
        self.fill(start)
        start = max(start, self._position)
        if self.source[start:end].strip():
            self._add(start, end)

    def fill(self, end: int) -> None:
        """Add what lies between the last leaf and ``end``, as the plain lexer reads it."""
        if self.source[self._position : end].strip():
            for start, stop in _plain(self.source, self._position, end):
                self._add(start, stop)
        self._position = max(self._position, end)

    def _add(self, start: int, end: int) -> None:
        self.enter()
        self._spans.append((start, end))
        self.leave()
        self._position = end

    def finish(self) -> Syntax:
        spans = np.array(self._spans, dtype=np.int32).reshape(-1, 2)
        if len(self.source) != len(self._code):
            spans = _characters(self.source)[spans]
        first, last, parent = _without_chains(self._first, self._last, self._parent)
        return Syntax(spans[:, 0], spans[:, 1], first, last, parent)


def _plain(source: bytes, start: int, end: int) -> Iterator[Span]:
    """Byte spans of the plain lexer's tokens in ``source[start:end]``."""
    text = source[start:end].decode(errors="replace")
    if len(text) == end - start:
        yield from ((start + match.start(), start + match.end()) for match in PLAIN.finditer(text))
        return
    offsets = np.cumsum([0, *(len(character.encode()) for character in text)]) + start
    for match in PLAIN.finditer(text):
        yield int(offsets[match.start()]), min(end, int(offsets[match.end()]))


def _characters(source: bytes) -> Ints:
    """Number of characters that begin before each byte of UTF-8, and before the end."""
    begins = (np.frombuffer(source, dtype=np.uint8) & 0xC0) != 0x80
    return np.concatenate([begins.cumsum() - begins, [begins.sum()]]).astype(np.int32)


def _without_chains(first: list[int], last: list[int], parent: list[int]) -> tuple[Ints, Ints, Ints]:
    """Arrays of a tree without the nodes that have no lexemes, or the same lexemes as their parent."""
    kept: list[int] = []
    became: list[int] = []
    ancestors: list[int] = []
    for node, above in enumerate(parent):
        ancestor = became[above] if above >= 0 else -1
        same = ancestor >= 0 and (first[node], last[node]) == (first[kept[ancestor]], last[kept[ancestor]])
        if same or first[node] == last[node]:
            became.append(ancestor)
            continue
        became.append(len(kept))
        kept.append(node)
        ancestors.append(ancestor)
    return (
        np.array(first, dtype=np.int32)[kept],
        np.array(last, dtype=np.int32)[kept],
        np.array(ancestors, dtype=np.int32),
    )
