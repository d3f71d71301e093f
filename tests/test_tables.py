"""Tables of one's own as others write them: labels, dialects, encodings, several files, what is there twice."""

import bz2
import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_stages import run_stage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_public_data import SPLITS
from test_public_data import read as read_into

from codekd.data.readers import rows_of
from codekd.data.records import Classes
from codekd.data.tasks._table import parts_of
from codekd.errors import CodekdError
from codekd.study import components

OWN = {"kind": "table", "classes": ["good", "bad"]}
Value = str | int | float | bool


def read(folder: Path, **settings: Any) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    """The examples of a task, and the summary of its stage, which writes into a folder of its own."""
    return read_into(folder, Path(tempfile.mkdtemp(dir=folder)) / "out", **settings)


def task(files: Any, **other: Any) -> dict[str, Any]:
    return {**OWN, "files": files, **other}


def rows(values: list[Any], **more: list[Any]) -> list[dict[str, Any]]:
    """As many different functions as there are values of labels, with more columns."""
    columns = {"code": [f"def f{n}():\n    return {n}\n" for n in range(len(values))], "label": values, **more}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def as_csv(path: Path, table: list[dict[str, Any]], encoding: str = "utf-8", **dialect: Any) -> Path:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, table[0], **dialect)
    writer.writeheader()
    writer.writerows(table)
    path.write_bytes(stream.getvalue().encode(encoding))
    return path


def as_lines(path: Path, table: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in table))
    return path


def as_list(path: Path, table: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(table, indent=1))
    return path


def as_parquet(path: Path, table: list[dict[str, Any]]) -> Path:
    pl.DataFrame(table).write_parquet(path)
    return path


FORMATS: dict[str, Callable[[Path, list[dict[str, Any]]], Path]] = {
    **{"csv": as_csv, "tsv": lambda path, table: as_csv(path, table, delimiter="\t")},
    **{"jsonl": as_lines, "ndjson": as_lines, "json": as_list, "parquet": as_parquet},
}


def labels(folder: Path, **settings: Any) -> dict[str, int]:
    """The label of each example of a task, by its code."""
    frames, _ = read(folder, **settings)
    return dict(pl.concat([frames[part] for part in SPLITS[:3]]).select("code", "label").iter_rows())


@pytest.mark.parametrize(
    ("classes", "values", "expected"),
    [
        (["good", "bad"], [0, 1, 1, 0, 1, 0], [0, 1, 1, 0, 1, 0]),
        (["good", "bad"], [0.0, 1.0, 1.0, 0.0, 1.0, 0.0], [0, 1, 1, 0, 1, 0]),
        (["good", "bad"], [False, True, True, False, True, False], [0, 1, 1, 0, 1, 0]),
        (["good", "bad"], ["good", "bad ", " bad", "0", "TRUE", "False"], [0, 1, 1, 0, 1, 0]),
        (["1", "0"], [0, 1, 1, 0, 1, 0], [1, 0, 0, 1, 0, 1]),
        (["True", "False"], [False, True, True, False, True, False], [1, 0, 0, 1, 0, 1]),
        (["1", "2", "3"], [1, 2, 3, 1, 2, 3], [0, 1, 2, 0, 1, 2]),
        (["20", "10"], [10.0, 20.0, 20.0, 10.0, 20.0, 10.0], [1, 0, 0, 1, 0, 1]),
    ],
)
def test_a_label_means_the_same_class_in_every_format(
    classes: list[str], values: list[Value], expected: list[int], tmp_path: Path
) -> None:
    table = rows(values)
    wanted = dict(zip((row["code"] for row in table), expected, strict=True))
    for form, write in FORMATS.items():
        write(tmp_path / f"t.{form}", table)
        assert labels(tmp_path, **task({"all": f"t.{form}"}, classes=classes)) == wanted, form


@pytest.mark.parametrize("value", [3, -1, 0.5, "ugly", float("inf"), 10**400, "9" * 5000, [1], True])
def test_what_means_no_class_is_refused_and_never_a_traceback(value: Any, tmp_path: Path) -> None:
    as_lines(tmp_path / "t.jsonl", rows([0, 1, 2, value]))
    with pytest.raises(CodekdError, match=r"1 with a 'label' other than 0 to 2 or a, b, c \(t\.jsonl, line 4\)"):
        read(tmp_path, **task({"all": "t.jsonl"}, classes=["a", "b", "c"]))


def test_names_that_are_numbers_are_no_places() -> None:
    assert Classes(["1", "2"]).number(0) is None and Classes(["1", "2"]).number("1.0") == 0
    assert Classes(["a", "b"]).number(1) == 1 and Classes(["a", "b", "c"]).number(True) is None


def test_classes_of_the_datasets_library_go_by_their_names(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["bad", "good"])
    features = datasets.Features({"code": datasets.Value("string"), "label": names})
    table = rows([0, 1, 1, 0, 1, 0])
    datasets.Dataset.from_list(table, features=features).to_parquet(str(tmp_path / "t.parquet"))
    found = labels(tmp_path, **task({"all": "t.parquet"}))
    assert [found[row["code"]] for row in table] == [1, 0, 0, 1, 0, 1]


def as_r(path: Path, table: list[dict[str, Any]]) -> None:
    """What ``write.csv`` writes: every row has its number, for which the header has no name."""
    quoted = [[row["code"].replace('"', '""'), row["label"]] for row in table]
    lines = [f'"{number}","{code}",{label}\n' for number, (code, label) in enumerate(quoted, start=1)]
    path.write_text("".join(['"code","label"\n', *lines]), newline="")


TEXTS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1, max_size=40).filter(str.strip),
    min_size=3,
    max_size=6,
    unique_by=str.strip,
)
DIALECTS: dict[str, Callable[[Path, list[dict[str, Any]]], Any]] = {
    "csv": as_csv,
    "quoted": lambda path, table: as_csv(path, table, quoting=csv.QUOTE_ALL, lineterminator="\n"),
    "semicolons": lambda path, table: as_csv(path, table, delimiter=";"),
    "tabs": lambda path, table: as_csv(path, table, delimiter="\t", quoting=csv.QUOTE_NONNUMERIC),
    "bars": lambda path, table: as_csv(path, table, delimiter="|", lineterminator="\n"),
    "utf-16": lambda path, table: as_csv(path, table, "utf-16", delimiter="\t"),
    "utf-8-sig": lambda path, table: as_csv(path, table, "utf-8-sig"),
    "backslashes": lambda path, table: as_csv(path, table, doublequote=False, escapechar="\\", quoting=csv.QUOTE_ALL),
    "polars": lambda path, table: pl.DataFrame(table).write_csv(path),
    "pandas": lambda path, table: pl.DataFrame(table).to_pandas().to_csv(path),
    "pandas without numbers": lambda path, table: pl.DataFrame(table).to_pandas().to_csv(path, index=False, sep=";"),
    "pandas with backslashes": lambda path, table: (
        pl.DataFrame(table)
        .to_pandas()
        .to_csv(path, index=False, escapechar="\\", doublequote=False, quoting=csv.QUOTE_ALL)
    ),
    "excel": lambda path, table: path.write_text(
        "sep=;\r\n" + as_csv(path, table, delimiter=";").read_bytes().decode(), newline=""
    ),
    "R": as_r,
}


@pytest.mark.parametrize("by", DIALECTS)
def test_a_table_comes_back_from_every_writer_of_csv(by: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"

    @settings(deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(TEXTS, st.data())
    def check(texts: list[str], data: Any) -> None:
        # Where nothing is quoted inside a field, a backslash that is doubled is not told from two.
        texts = [*texts, 'x = "y"'] if "backslashes" in by else texts
        table = [{"code": text, "label": data.draw(st.sampled_from(["0", "1"]))} for text in texts]
        DIALECTS[by](path, table)
        found = [row.values for row in rows_of([path], ["code", "label"])]
        assert [{key: row[key] for key in ("code", "label")} for row in found] == table  # type: ignore[index]

    check()


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.parametrize(
    ("end", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", lambda data: pa.compress(data, "zstd", asbytes=True))],
)
def test_compressed_files_are_read_as_they_are(
    form: str, end: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    plain = FORMATS[form](tmp_path / f"t.{form}", rows([0, 1] * 5))
    (tmp_path / f"t.{form}{end}").write_bytes(pack(plain.read_bytes()))
    same = [labels(tmp_path, **task({"all": name})) for name in (f"t.{form}", f"t.{form}{end}")]
    assert same[0] == same[1] and len(same[0]) == 10


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_lines_of_json_have_the_encoding_of_their_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    path = as_lines(tmp_path / "t.jsonl", rows([0, 1] * 5))
    plain = labels(tmp_path, **task({"all": "t.jsonl"}))
    path.write_bytes(path.read_text().encode(encoding))
    assert labels(tmp_path, **task({"all": "t.jsonl"})) == plain


def test_several_files_patterns_and_ones_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    table = rows([0, 1] * 6)
    (tmp_path / "parts").mkdir()
    as_lines(tmp_path / "parts" / "a.jsonl", table[:4])
    as_csv(tmp_path / "parts" / "b.csv", table[4:8])
    as_parquet(tmp_path / "parts" / "c.parquet", table[8:])
    expected = {row["code"]: row["label"] for row in table}
    for named in (
        ["parts/a.jsonl", "parts/b.csv", "~/parts/c.parquet"],
        ["~/parts/*.jsonl", "parts/?.csv", "parts/**/*.parquet"],
    ):
        assert labels(tmp_path, **task({"all": named})) == expected
    with pytest.raises(CodekdError, match=r"no file is called .*none-\*\.csv"):
        read(tmp_path, **task({"all": "none-*.csv"}))
    with pytest.raises(ValidationError, match=r"t\.xlsx: the name must end in \.jsonl, .*\.parquet"):
        components.parse("tasks", task({"all": "t.xlsx"}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("code,label\na,0\nb,1\n", None),
        ("", "has no rows"),
        ("code,label\n", "has no rows"),
        ("Code,label\na,0\n", "has no column 'code' in its header; it has 'Code', 'label'"),
        ("code,label,label\na,0,1\n", "has 2 columns 'label'"),
        ('code,label\n"a,0\nb,1\nc,0\n', r"t\.csv, line 2: a quote opens in this row and never closes"),
        ("code,label\r\na,0\nb,1\n", "another line end than that of the header"),
    ],
)
def test_a_table_that_cannot_be_read_rightly_is_not_read(text: str, message: str | None, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode())
    if message is None:
        assert len(list(rows_of([tmp_path / "t.csv"], ["code", "label"]))) == 2
        return
    for skip in ("error", "skip"):
        with pytest.raises(CodekdError, match=message):
            read(tmp_path, **task({"all": "t.csv"}, on_bad_rows=skip))


def test_a_field_that_stands_twice_is_refused_in_all_formats(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"code": "a", "label": 0, "label": 1}\n')
    with pytest.raises(CodekdError, match="a field that stands twice"):
        read(tmp_path, **task({"all": "t.jsonl"}))
    twice = pa.table([["a"], [0], [1]], names=["code", "label", "label"])
    pq.write_table(twice, tmp_path / "t.parquet")
    with pytest.raises(CodekdError, match="2 columns 'label'"):
        read(tmp_path, **task({"all": "t.parquet"}))


def test_what_is_there_twice_is_refused_or_counted_and_contradictions_are_told_apart(tmp_path: Path) -> None:
    table = rows([0, 1] * 10)
    again = [table[0], table[1] | {"label": 0}]
    for part, own in (("train", table[:12] + again), ("valid", table[12:16]), ("test", [*table[16:], table[2]])):
        as_csv(tmp_path / f"{part}.csv", own)
    more = [{"code": code} for code in ("a", "a", table[0]["code"], table[17]["code"], "b")]
    as_csv(tmp_path / "more.csv", more)
    own = task({**{part: f"{part}.csv" for part in SPLITS[:3]}, "unlabeled": "more.csv"})
    with pytest.raises(CodekdError, match=r"3 of 28 .* 2 with what an earlier row has .*1 with another label"):
        read(tmp_path, **own)
    frames, summary = read(tmp_path, **own, on_bad_rows="skip")
    assert [len(frames[part]) for part in SPLITS] == [12, 4, 4, 2]
    assert summary["left out"] == {
        "what an earlier row has": 2,
        "another label than an equal row": 1,
        "unlabelled, the code of another example": 3,
    }


@given(st.dictionaries(st.text("abcdefgh", min_size=1), st.integers(1, 1000), min_size=3, max_size=12))
@settings(deadline=None, derandomize=True)
def test_groups_of_any_size_fill_all_splits(sizes: dict[str, int]) -> None:
    config = components.parse("tasks", task({"all": "t.csv"}, group="project"))
    part = parts_of(sizes, config)
    assert part.keys() == sizes.keys() and set(part.values()) == set(SPLITS[:3])


def test_too_few_groups_and_unlabelled_ones_of_a_test_group(tmp_path: Path) -> None:
    table = rows([0, 1] * 15, project=["a"] * 20 + ["b"] * 5 + ["c"] * 5)
    as_csv(tmp_path / "t.csv", table)
    as_csv(tmp_path / "more.csv", [{"code": f"x{n}", "project": "abc"[n % 3]} for n in range(9)])
    own = task({"all": "t.csv", "unlabeled": "more.csv"}, group="project")
    frames, summary = read(tmp_path, **own)
    assert set(frames["train"]["group"]) == {"a"} == set(frames["unlabeled"]["group"])
    assert summary["left out"]["unlabelled, of a group of valid or test"] == 6
    as_csv(tmp_path / "t.csv", [row | {"project": "ab"[n % 2]} for n, row in enumerate(table)])
    with pytest.raises(CodekdError, match=r"project has 2 groups, and three are the fewest"):
        read(tmp_path, **own)


def test_pairs_that_share_a_function_are_in_one_split(tmp_path: Path) -> None:
    pairs = [{"code_a": f"a{n // 4}", "code_b": f"b{n}", "label": n % 2} for n in range(80)]
    own = task({"all": "t.csv"}, code=["code_a", "code_b"])
    as_csv(tmp_path / "t.csv", pairs)
    frames, _ = read(tmp_path, **own)
    sides = [set(frames[part]["code_a"]) | set(frames[part]["code_b"]) for part in SPLITS[:3]]
    assert all(sides) and not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    as_csv(tmp_path / "t.csv", [pair | {"code_a": "same"} for pair in pairs])
    with pytest.raises(CodekdError, match=r"80 of 80 pairs hang together by functions that they share"):
        read(tmp_path, **own)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"metric": "f1", "classes": ["a", "b", "c"]}, "`f1` is of two classes, and there are 3: write macro_f1"),
        ({"classes": ["a", "a"]}, "`classes` must differ"),
        ({"classes": ["1", "1.0"]}, "`classes` must differ"),
        ({"classes": ["a", " "]}, "one is empty"),
        ({"code": "label"}, "`code` and `label` are different columns"),
        ({"code": ["a", "a"]}, "`code` and `label` are different columns"),
    ],
)
def test_classes_and_columns_that_cannot_be_are_refused_when_planning(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        components.parse("tasks", task({"all": "t.csv"}, **wrong))


def test_a_split_that_lacks_a_class_is_said_and_refused_for_its_f1(tmp_path: Path) -> None:
    table = rows([0, 1] * 5 + [0] * 4)
    for part, own in (("train", table[:6]), ("valid", table[6:10]), ("test", table[10:])):
        as_csv(tmp_path / f"{part}.csv", own)
    frames, summary = read(tmp_path, **task({part: f"{part}.csv" for part in SPLITS[:3]}))
    assert summary["lacking"] == {"test": ["bad"]}
    (tmp_path / "examples").mkdir()
    for part, frame in frames.items():
        frame.write_parquet(tmp_path / "examples" / f"{part}.parquet")
    spec = {"metric": "f1", "classes": ["good", "bad"], "columns": ["code"], "has_hole": False}
    parents = {"examples": tmp_path / "examples"}
    with pytest.raises(CodekdError, match=r"none of the 4 examples of test is of the class 'bad'"):
        run_stage("codekd.analysis.floors", tmp_path / "f1", spec, parents)
    run_stage("codekd.analysis.floors", tmp_path / "accuracy", spec | {"metric": "accuracy"}, parents)
