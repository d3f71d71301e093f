"""Pairs for clone detection from two releases of each package."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice, product
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer

from codekd.data.bare import bare
from codekd.data.hashing import digest
from codekd.data.labels import UNLABELLED
from codekd.data.splits import EVALUATED
from codekd.data.tasks._made_pairs import made_pairs
from codekd.data.tasks.base import GIVES_UNLABELLED
from codekd.data.tasks.clone import Config
from codekd.data.tokens import code_tokens
from codekd.progress import track

TYPES = ((0.9, "VST3"), (0.7, "ST3"), (0.5, "MT3"), (0.0, "WT3T4"))
NEIGHBOURS = 20
MADE_NEIGHBOURS = 5
SCHEMA = {name: pl.Int32 if name == "label" else pl.String for name in ("code_a", "code_b", "label", "group", "type")}

Row = dict[str, str | int]


@dataclass(frozen=True)
class Clone:
    """Function in two releases of its package, as bare code; ``similarity`` is the share of lines that stayed."""

    package: str
    qualname: str
    earlier: str
    current: str
    similarity: float

    @property
    def name(self) -> str:
        """Own name of the function, which its bare code does not show."""
        return self.qualname.rsplit(".", 1)[-1]

    @property
    def type(self) -> str:
        """Type of clone by line similarity, one of ``TYPES``."""
        return next(name for least, name in TYPES if self.similarity >= least)


def frames(config: Config, corpora: Mapping[str, Path], split: Mapping[str, str]) -> dict[str, pl.DataFrame]:
    """Implementation of :func:`codekd.data.tasks.clone.build`."""
    by_package: dict[str, list[Clone]] = {}
    for clone in clones(matched(corpora["previous"], corpora["current"]), config.min_lines, config.max_lines):
        by_package.setdefault(clone.package, []).append(clone)
    rows: dict[str, list[Row]] = {"train": [], "valid": [], "test": [], "unlabeled": []}
    for package, found in by_package.items():
        # Not by the digest that is a pair's id: limits keep the lowest ids, and would prefer the clones chosen here.
        found.sort(key=lambda clone: digest("order", clone.earlier, clone.current))
        labelled = [clone for clone in found if clone.similarity < config.similarity_below]
        chosen = set(labelled[: config.per_package]) if split[package] != "transfer" else set()
        for clone, neighbours in zip(found, nearest_others(found, config.negatives), strict=True):
            if clone in chosen:
                rows[split[package]].extend(_rows(clone, neighbours))
            elif split[package] in GIVES_UNLABELLED:
                rows["unlabeled"].extend(row | {"label": UNLABELLED} for row in _rows(clone, neighbours))
    if config.made:
        functions = [found for package, found in by_package.items() if split[package] in GIVES_UNLABELLED]
        rows["made"] = list(islice(_made(functions, rows), config.made))
    return {part: pl.DataFrame(found, SCHEMA) for part, found in rows.items()}


def _made(by_package: Iterable[list[Clone]], rows: Mapping[str, Sequence[Row]]) -> Iterator[Row]:
    """Synthetic pairs of functions of training packages, none of which is among the ``rows`` in either order.

    No code of an example for evaluation is in any of them.
    """
    seen = {frozenset((row["code_a"], row["code_b"])) for found in rows.values() for row in found}
    evaluated = {row[side] for part in EVALUATED for row in rows[part] for side in ("code_a", "code_b")}
    clones, different = [], []
    for found in by_package:
        clones += [(clone.package, clone.earlier, clone.current) for clone in found]
        for clone, others in zip(found, nearest_others(found, MADE_NEIGHBOURS), strict=True):
            sides = product((clone.earlier, clone.current), others)
            different += [(clone.package, *pair) for pair in sides if frozenset(pair) not in seen]
    for (package, first, second), kind in made_pairs(clones, different):
        pair = frozenset((first, second))
        if pair not in seen and evaluated.isdisjoint(pair):
            seen.add(pair)
            yield {"code_a": first, "code_b": second, "label": UNLABELLED, "group": package, "type": kind}


def matched(previous: Path, current: Path) -> Iterator[tuple[str, str, str, str]]:
    """Package, qualified name, earlier and current source of every function that both releases have.

    A function is matched by its module's path and qualified name or, if it moved, by its qualified name alone where no
    other function of either release has that. Inner functions are left out: the outer ones contain them.

    Args:
        previous: folder of the ``corpus`` node with the earlier releases.
        current: folder of the one with the current releases.
    """
    before, after = _outer_functions(previous), _outer_functions(current)
    key = ("package", "path", "qualname")
    moved_key = ("package", "qualname")
    alone = pl.len().over(moved_key) == 1
    stayed = after.join(before, on=key, suffix="_earlier", maintain_order="left")
    moved = (
        after.filter(alone)
        .join(before, on=key, how="anti", maintain_order="left")
        .join(before.filter(alone), on=moved_key, suffix="_earlier", maintain_order="left")
    )
    both = pl.concat([frame.select(*moved_key, "code_earlier", "code") for frame in (stayed, moved)])
    yield from both.iter_rows()


def clones(pairs: Iterable[tuple[str, str, str, str]], min_lines: int, max_lines: int) -> Iterator[Clone]:
    """Clones among ``pairs`` of :func:`matched`: the bare code changed and has an allowed number of lines in both."""
    changed = [pair for pair in pairs if pair[2] != pair[3]]
    for package, qualname, *sources in track(changed, description="changed functions", unit="function"):
        if any(source.count("\n") + 1 < min_lines for source in sources):
            continue
        earlier, current = (bare(source) for source in sources)
        lines = earlier.split("\n"), current.split("\n")
        if earlier != current and all(min_lines <= len(side) <= max_lines for side in lines):
            similarity = SequenceMatcher(None, *lines, autojunk=False).ratio()
            yield Clone(package, qualname, earlier, current, similarity)


def nearest_others(clones: Sequence[Clone], count: int) -> list[list[str]]:
    """Nearest neighbours of each function's earlier code among the current code of functions of other names.

    Nearness is the cosine of TF-IDF vectors of tokens. Code that is equal to either release of the function
    is no neighbour.

    Args:
        clones: functions of one package.
        count: largest number of neighbours of each.

    Returns:
        Bare code of the neighbours of each function, nearest first.
    """
    vectorizer = TfidfVectorizer(analyzer=code_tokens, sublinear_tf=True)
    candidates = vectorizer.fit_transform([clone.current for clone in clones])
    queries = vectorizer.transform([clone.earlier for clone in clones])
    found: list[list[str]] = []
    for start in range(0, len(clones), 512):
        similarity = (queries[start : start + 512] @ candidates.T).toarray()
        order = np.argsort(-similarity, axis=1, kind="stable")
        for clone, ranked in zip(clones[start : start + 512], order[:, : NEIGHBOURS + count], strict=True):
            others = (clones[index] for index in ranked)
            texts = [
                other.current
                for other in others
                if other.name != clone.name and other.current not in (clone.earlier, clone.current)
            ]
            found.append(texts[:count])
    return found


def _outer_functions(corpus: Path) -> pl.DataFrame:
    scan = pl.scan_parquet(corpus / "functions.parquet")
    outer = scan.filter(~pl.col("qualname").str.contains("<locals>", literal=True))
    columns = ("package", "path", "qualname", "code")
    return outer.select(columns).collect().unique(columns[:3], keep="last", maintain_order=True)


def _rows(clone: Clone, neighbours: Sequence[str]) -> Iterator[Row]:
    shared: Row = {"code_a": clone.earlier, "group": clone.package}
    yield shared | {"code_b": clone.current, "label": 1, "type": clone.type}
    for neighbour in neighbours:
        yield shared | {"code_b": neighbour, "label": 0, "type": "negative"}
