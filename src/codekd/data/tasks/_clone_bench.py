"""Reading of BigCloneBench, many pairs of few functions: the text of a function is in memory once."""

from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl

from codekd.data.hashing import number
from codekd.data.readers import rows_of
from codekd.data.records import BadRow, Row
from codekd.data.splits import SPLITS
from codekd.data.tasks._reading import Files, Frames, Reader
from codekd.data.tasks.bigclonebench import SAMPLED, Config

GROUP = "bigclonebench"
STEPS = 10**9

Pair = tuple[str, int, int, int]
"""Key, indices of the two functions, and label."""


def read(config: Config, files: Files) -> tuple[Frames, dict[str, int]]:
    """Implementation of :func:`codekd.data.tasks.bigclonebench.read`."""
    reader = Reader(config, config.source)
    pairs = _Pairs(config, reader)
    for _ in reader.accepted(rows_of(files.get("functions", [])), "functions", pairs.add_function):
        pass
    chosen = {split: [pair for pair in _of(files, split, reader, pairs) if pair] for split in SPLITS}
    texts = pl.Series(pairs.texts, dtype=pl.String)
    frames = {split: _frame(rows, texts) for split, rows in chosen.items()}
    return frames, reader.left_out()


def _of(files: Files, split: str, reader: Reader, pairs: "_Pairs") -> Iterator[Pair | None]:
    if "functions" in files:
        rows = rows_of(files.get(split, []), read=_lines)
        return reader.accepted(rows, split, lambda row: pairs.of_numbers(row, split))
    return reader.accepted(reader.rows(files, split), split, lambda row: pairs.of_texts(row, split))


def _lines(path: Path, _: Collection[str]) -> Iterator[Row]:
    """Rows of a file with two numbers of functions and a label on each line."""
    with path.open("rb") as stream:
        for count, line in enumerate(stream, start=1):
            fields = line.decode(errors="replace").rstrip("\r\n").split("\t")
            named = dict(zip(("id1", "id2", "label"), fields, strict=False))
            values = named if len(fields) == 3 else BadRow("other than three fields")
            yield Row(f"{path.name}, line {count}", values)


class _Pairs:
    """Functions by their numbers, and maker of the pairs of them, of which a share is kept."""

    def __init__(self, config: Config, reader: Reader) -> None:
        self._config = config
        self._reader = reader
        self._place: dict[str, int] = {}
        self.texts: list[str] = []

    def add_function(self, row: Row) -> None:
        name, text = row.name("idx"), row.code("func")
        if name in self._place:
            raise BadRow("an 'idx' that came before")
        self._put(name, text)

    def of_numbers(self, row: Row, split: str) -> Pair | None:
        first, second = row.field("id1"), row.field("id2")
        if not {first, second} <= self._place.keys():
            raise BadRow("a function that is not in data.jsonl")
        return self._pair(row, split, first, second)

    def of_texts(self, row: Row, split: str) -> Pair | None:
        names = []
        for name, text in (("id1", "func1"), ("id2", "func2")):
            names.append(row.name(name))
            if names[-1] not in self._place:
                self._put(names[-1], row.code(text))
        return self._pair(row, split, *names)

    def _pair(self, row: Row, split: str, first: str, second: str) -> Pair | None:
        label = row.label("label", self._reader.classes)
        key = self._reader.unseen(split, first, second)
        if split in SAMPLED and number(first, second) % STEPS >= self._config.share * STEPS:
            return None
        return key, self._place[first], self._place[second], label

    def _put(self, name: str, text: str) -> None:
        self._place[name] = len(self.texts)
        self.texts.append(text)


def _frame(pairs: list[Pair], texts: pl.Series) -> pl.DataFrame:
    schema = {"key": pl.String, "first": pl.UInt32, "second": pl.UInt32, "label": pl.Int32}
    frame = pl.DataFrame(pairs, schema=schema, orient="row")
    return frame.select(
        "key",
        texts.gather(frame["first"]).alias("code_a"),
        texts.gather(frame["second"]).alias("code_b"),
        "label",
        group=pl.lit(GROUP),
    )
