"""Functions with and without an injected operator bug."""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl

from codekd.data.bare import without_docstring
from codekd.data.functions import parse
from codekd.data.hashing import digest, number
from codekd.data.labels import UNLABELLED
from codekd.data.tasks._made import Function, in_turns
from codekd.data.tasks.base import GIVES_UNLABELLED
from codekd.data.tasks.defect import Config
from codekd.progress import track

FAMILIES: tuple[tuple[type[ast.AST], ...], ...] = (
    (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod),
    (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot, ast.In, ast.NotIn),
    (ast.And, ast.Or),
)
FAMILY = {operator: family for family in FAMILIES for operator in family}
ASYMMETRIC = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn)
OPERATOR = re.compile(r"[-+*/%<>]|[=!]=|\b(?:is|in|and|or)\b")
SOURCE_FACTOR = 4
SCHEMA = {"code": pl.String, "label": pl.Int32, "group": pl.String, "kind": pl.String}

Row = dict[str, str | int]
Operation = ast.BinOp | ast.Compare | ast.BoolOp


@dataclass(frozen=True)
class Variants:
    """Function in the layout of ``ast.unparse``: without a bug, and by kind of bug with one."""

    clean: str
    buggy: Mapping[str, str]


def frames(config: Config, corpora: Mapping[str, Path], split: Mapping[str, str]) -> dict[str, pl.DataFrame]:
    """Implementation of :func:`codekd.data.tasks.defect.build`."""
    rows: dict[str, list[Row]] = {"train": [], "valid": [], "test": [], "unlabeled": []}
    functions = list(_short_functions(corpora["current"], SOURCE_FACTOR * config.max_characters))
    taken: Counter[tuple[str, str]] = Counter()
    used: dict[str, tuple[str, str]] = {}
    quotas = {part: config.per_package // len(config.bugs) for part in ("train", "valid", "test")}
    further_quota = config.unlabeled_per_package // len(config.bugs)
    for package, code in track(functions, description="injecting bugs", unit="function"):
        part = split[package]
        labelled_quota = quotas.get(part, 0)
        quota = labelled_quota + (further_quota if part in GIVES_UNLABELLED else 0)
        open_kinds = [kind for kind in config.bugs if taken[package, kind] < quota]
        if not open_kinds:
            continue
        variants = inject(code, open_kinds)
        if not variants.buggy or variants.clean in used or len(variants.clean) > config.max_characters:
            continue
        kind = next(kind for kind in open_kinds if kind in variants.buggy)
        text = variants.buggy[kind] if number("label", variants.clean) % 2 else variants.clean
        used[variants.clean] = part, text
        labelled = taken[package, kind] < labelled_quota
        rows[part if labelled else "unlabeled"].append(
            {
                "code": text,
                "label": int(text != variants.clean) if labelled else UNLABELLED,
                "group": package,
                "kind": kind,
            }
        )
        taken[package, kind] += 1
    if config.made:
        sources = [(package, code) for package, code in functions if split[package] in GIVES_UNLABELLED]
        rows["made"] = list(islice(_made(config, sources, used), config.made))
    return {part: pl.DataFrame(found, SCHEMA) for part, found in rows.items()}


def _made(config: Config, functions: Iterable[Function], used: Mapping[str, tuple[str, str]]) -> Iterator[Row]:
    """Synthetic examples: functions with and without a bug, :func:`~codekd.data.tasks._made.in_turns`.

    ``used`` maps the clean code of functions that are examples to their part of the split and their text: of one of a
    training package, the other variant is made.
    """
    seen: set[str] = set()
    for package, code in track(in_turns(functions), description="making variants", unit="function"):
        variants = inject(code, config.bugs, "made")
        part, chosen = used.get(variants.clean, ("train", ""))
        too_long = len(variants.clean) > config.max_characters
        if not variants.buggy or too_long or variants.clean in seen or part not in GIVES_UNLABELLED:
            continue
        seen.add(variants.clean)
        kind, buggy = next(iter(variants.buggy.items()))
        for text in (variants.clean, buggy) if not chosen else (buggy if chosen == variants.clean else variants.clean,):
            yield {"code": text, "label": UNLABELLED, "group": package, "kind": kind}


def inject(code: str, bugs: Sequence[str], draw: str = "") -> Variants:
    """Inject one bug of each kind for which a function has a place.

    The place is drawn by hash among the operations of the function, inner ones included. A bug that changes the number
    of parentheses is not injected: they would give it away.

    Args:
        code: source of the function; its docstring is removed.
        bugs: kinds of bugs: ``operator`` or ``swapped``.
        draw: name of the draw; another name draws other places and operators.
    """
    module = parse(code)
    (function,) = module.body
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    without_docstring(function)
    clean = ast.unparse(module)
    operations = [node for node in ast.walk(function) if isinstance(node, Operation)]
    seed = clean + draw
    operations.sort(key=lambda node: digest(seed, str(node.lineno), str(node.col_offset), ast.dump(node)))
    buggy: dict[str, str] = {}
    for kind in bugs:
        for node in operations:
            if (text := _unparsed_with_bug(module, node, kind, clean, seed)) is not None:
                buggy[kind] = text
                break
    return Variants(clean, buggy)


def _unparsed_with_bug(module: ast.Module, node: Operation, kind: str, clean: str, seed: str) -> str | None:
    bug = _wrong_operator(node, seed) if kind == "operator" else _swapped_operands(node)
    if bug is None:
        return None
    unchanged = {field: getattr(node, field) for field in bug}
    _set(node, bug)
    text = ast.unparse(module)
    _set(node, unchanged)
    return text if text != clean and text.count("(") == clean.count("(") else None


def _wrong_operator(node: Operation, seed: str) -> dict[str, object] | None:
    """Fields of the operation with another operator of the same family, drawn by hash; None without a family."""
    operator = node.ops[0] if isinstance(node, ast.Compare) else node.op
    others = [other for other in FAMILY.get(type(operator), ()) if other is not type(operator)]
    if not others:
        return None
    chosen = others[number("operator", seed) % len(others)]()
    return {"ops": [chosen, *node.ops[1:]]} if isinstance(node, ast.Compare) else {"op": chosen}


def _swapped_operands(node: Operation) -> dict[str, object] | None:
    """Fields of the operation with its operands swapped; None where their order does not matter."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ASYMMETRIC):
        return {"left": node.comparators[0], "comparators": [node.left]}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ASYMMETRIC):
        return {"left": node.right, "right": node.left}
    return None


def _set(node: Operation, fields: Mapping[str, object]) -> None:
    for field, value in fields.items():
        setattr(node, field, value)


def _short_functions(corpus: Path, max_characters: int) -> Iterator[tuple[str, str]]:
    """Package and source of outer functions that may have an operator, in an order drawn by hash."""
    scan = pl.scan_parquet(corpus / "functions.parquet")
    found = scan.filter(
        ~pl.col("qualname").str.contains("<locals>", literal=True)
        & (pl.col("code").str.len_chars() <= max_characters)
        & pl.col("code").str.contains(OPERATOR.pattern)
    )
    rows = found.select("package", "path", "qualname", "code").collect().rows()
    for package, _, _, code in sorted(rows, key=lambda row: digest(*row)):
        yield package, code
