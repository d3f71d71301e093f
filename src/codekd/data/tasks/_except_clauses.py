"""Examples of exception classification from functions of corpora."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl

from codekd.data.functions import own_statements, parse
from codekd.data.hashing import digest
from codekd.data.hole import HOLE
from codekd.data.labels import UNLABELLED
from codekd.data.tasks._made_clauses import Lines, handler_of, made_clauses
from codekd.data.tasks.base import GIVES_UNLABELLED
from codekd.data.tasks.exception import Config
from codekd.data.tokens import code_tokens
from codekd.progress import track

SCHEMA = {name: pl.Int32 if name == "label" else pl.String for name in ("code", "label", "group", "type", "part")}

Row = dict[str, str | int]


@dataclass(frozen=True)
class Clause:
    """An ``except`` clause: the source of its function before and after the hole, and the type that stood there."""

    before: str
    after: str
    type: str

    @property
    def text(self) -> str:
        """Source of the function with the hole."""
        return self.before + HOLE + self.after


def clauses_of(code: str) -> Iterator[Clause]:
    """The ``except`` clauses of a function, without those of inner functions; a bare clause has the type ''."""
    lines = [line + "\n" for line in code.split("\n")]
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def position(line: int, column: int) -> int:
        """Number of characters before a place that ``ast`` gives as a line and a column in bytes."""
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    (function,) = parse(code).body
    for node in own_statements(function):
        if not isinstance(node, ast.ExceptHandler):
            continue
        if node.type is None:
            end = position(node.lineno, node.col_offset) + len("except")
            yield Clause(code[:end] + " ", code[end:], "")
        else:
            start = position(node.type.lineno, node.type.col_offset)
            end = position(node.type.end_lineno or 0, node.type.end_col_offset or 0)
            # A hole reads as a name, and so needs the spaces that `except(A, B)as error` lacks.
            before, after = " " * code[start - 1].isalpha(), " " * code[end].isalpha()
            yield Clause(code[:start] + before, after + code[end:], _type_name(node.type))


def frames(config: Config, corpora: Mapping[str, Path], split: Mapping[str, str]) -> dict[str, pl.DataFrame]:
    """Implementation of :func:`codekd.data.tasks.exception.build`."""
    labels = {name: label for label, name in enumerate(config.classes)}
    rows: list[Row] = []
    seen: set[str] = set()
    renewed: set[tuple[str, str]] = set()
    for corpus in ("current", "previous"):
        functions = _functions_with_clauses(corpora[corpus])
        kept: set[tuple[str, str]] = set()
        for package, qualname, code in track(functions, description=f"except clauses, {corpus}", unit="function"):
            if (package, qualname) in renewed:
                continue
            for clause in clauses_of(code):
                label = labels.get(clause.type, UNLABELLED) if split[package] != "transfer" else UNLABELLED
                if label >= 0:
                    kept.add((package, qualname))
                part = split[package] if label >= 0 else "unlabeled"
                key = digest(*code_tokens(text := clause.text))
                if key in seen or (part == "unlabeled" and split[package] not in GIVES_UNLABELLED):
                    continue
                seen.add(key)
                rows.append({"code": text, "label": label, "group": package, "type": clause.type, "part": part})
        renewed = kept
    parts = ["train", "valid", "test", "unlabeled"]
    if config.made:
        rows += islice(_made(corpora["current"], split, rows, seen), config.made)
        parts.append("made")
    table = pl.DataFrame(rows, SCHEMA)
    return {part: table.filter(pl.col("part") == part).drop("part") for part in parts}


def _made(corpus: Path, split: Mapping[str, str], found: Sequence[Row], seen: set[str]) -> Iterator[Row]:
    """Functions of training packages that have no clause, with a synthetic one.

    ``seen`` has the digests of the examples that were ``found``.
    """
    handlers: dict[str, dict[Lines, None]] = {}
    for row in found:
        before, _, after = str(row["code"]).partition(HOLE)
        if split[package := str(row["group"])] in GIVES_UNLABELLED and (lines := handler_of(before, after)):
            handlers.setdefault(package, {})[lines] = None
    plain = ~pl.col("code").str.contains(f"except|{HOLE}")
    packages = [package for package, part in split.items() if part in GIVES_UNLABELLED]
    functions = pl.scan_parquet(corpus / "functions.parquet").filter(plain & pl.col("package").is_in(packages))
    texts = functions.select("package", "code").collect().rows()
    for package, text in made_clauses(texts, {package: list(lines) for package, lines in handlers.items()}):
        if (key := digest(*code_tokens(text))) not in seen:
            seen.add(key)
            yield {"code": text, "label": UNLABELLED, "group": package, "type": "made", "part": "made"}


def _functions_with_clauses(corpus: Path) -> list[tuple[str, str, str]]:
    scan = pl.scan_parquet(corpus / "functions.parquet")
    chosen = scan.filter(pl.col("code").str.contains("except", literal=True))
    return chosen.select("package", "qualname", "code").collect().rows()


def _type_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ast.unparse(node)
