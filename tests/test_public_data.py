"""Public datasets in their published formats, and files of one's own, right and wrong."""

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest
from data_stages import run_stage

from codekd.data.read import read_examples
from codekd.errors import CodekdError
from codekd.study import components

SPLITS = ("train", "valid", "test", "unlabeled")


def read(base: Path, out: Path, **settings: Any) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    """The examples of a task as its stage writes them, and the stage's summary."""
    config = components.parse("tasks", settings)
    files = {
        f"file/{role}/{number}": path
        for role, paths in config.local_files(base).items()
        for number, path in enumerate(paths)
    }
    summary = run_stage("codekd.data.examples", out, {"task": config.spec(), "split": {}}, files)
    return {part: read_examples(out, part, config.columns, config.classes) for part in SPLITS}, summary


def write_lines(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))


def devign_row(number: int, **other: Any) -> dict[str, Any]:
    return {
        "project": ("FFmpeg", "qemu")[number % 2],
        "commit_id": f"{number:040x}",
        "target": number % 2,
        "func": f"static int f{number}(void)\n{{\n\treturn {number};\n}}\n",
        "idx": number,
    } | other


@pytest.fixture
def devign(tmp_path: Path) -> Path:
    for start, part in enumerate(("train", "valid", "test")):
        write_lines(tmp_path / "devign" / f"{part}.jsonl", [devign_row(10 * start + n) for n in range(6)])
    return tmp_path


def test_devign_keeps_its_splits_whatever_they_have_in_common(devign: Path, tmp_path: Path) -> None:
    again = devign_row(99) | {"func": devign_row(0)["func"]}
    write_lines(devign / "devign" / "test.jsonl", [devign_row(20), devign_row(21), again])
    frames, summary = read(devign, tmp_path / "out", kind="devign", source={"folder": "devign"})
    assert [len(frames[part]) for part in SPLITS] == [6, 6, 3, 0]
    assert set(frames["train"]["group"]) == set(frames["test"]["group"]) == {"FFmpeg", "qemu"}
    assert frames["train"].filter(pl.col("code").str.contains("f3")).select("label", "group").rows() == [(1, "qemu")]
    assert "\n\treturn 3;\n" in "".join(frames["train"]["code"])
    assert summary["left out"] == {}


def test_the_copy_on_the_hub_gives_the_same_examples(
    devign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local, _ = read(devign, tmp_path / "local", kind="devign", source={"folder": "devign"})
    data = tmp_path / "copy" / "data"
    data.mkdir(parents=True)
    for part, name in (("train", "train"), ("valid", "validation"), ("test", "test")):
        rows = [json.loads(line) for line in (devign / "devign" / f"{part}.jsonl").read_text().splitlines()]
        frame = pl.DataFrame(rows).rename({"idx": "id"}).with_columns(pl.col("target").cast(pl.Boolean))
        frame.write_parquet(data / f"{name}-00000-of-00001.parquet")
    downloaded, _ = read(tmp_path, tmp_path / "downloaded", kind="devign", source={"folder": "copy"})
    assert all(frame.equals(local[part]) for part, frame in downloaded.items())

    asked: dict[str, Any] = {}
    load = datasets.load_dataset

    def from_folder(name: str, subset: str | None, revision: str, cache_dir: str) -> Any:
        asked.update(name=name, revision=revision)
        return load(str(tmp_path / "copy"), cache_dir=cache_dir)

    monkeypatch.setattr(datasets, "load_dataset", from_folder)
    monkeypatch.setenv("CODEKD_RESOURCES", str(tmp_path / "resources"))
    source = {"hub": "google/devign", "revision": "0" * 40}
    hub, _ = read(tmp_path, tmp_path / "hub", kind="devign", source=source)
    assert asked == {"name": "google/devign", "revision": "0" * 40}
    assert all(frame.equals(local[part]) for part, frame in hub.items())


@pytest.mark.parametrize(
    ("files", "subset"),
    [
        ("data/{}-00000-of-00001.parquet", None),
        ("exception_datasets/{}-00000-of-00001.parquet", None),
        ("exception_datasets/{}-00000-of-00001.parquet", "exception_datasets"),
        ("default/{}/0000.parquet", None),
        ("snapshots/0123abc/data/{}-00000-of-00001.parquet", None),
        ("snapshots/0123abc/other/{}-00000-of-00001.parquet", "other"),
    ],
)
def test_copies_of_the_hub_are_read_in_every_layout(
    files: str, subset: str | None, devign: Path, tmp_path: Path
) -> None:
    local, _ = read(devign, tmp_path / "local", kind="devign", source={"folder": "devign"})
    for part, name in (("train", "train"), ("valid", "validation"), ("test", "test")):
        path = tmp_path / "copy" / files.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [json.loads(line) for line in (devign / "devign" / f"{part}.jsonl").read_text().splitlines()]
        pl.DataFrame(rows).write_parquet(path)
    source = {"folder": "copy"} | ({"subset": subset} if subset else {})
    copied, _ = read(tmp_path, tmp_path / "out", kind="devign", source=source)
    assert all(frame.equals(local[part]) for part, frame in copied.items())
    if files.startswith("exception"):
        shutil.copytree(tmp_path / "copy" / "exception_datasets", tmp_path / "copy" / "operators")
        if subset is None:
            with pytest.raises(CodekdError, match=r"several datasets.*`subset:` \(exception_datasets, operators\)"):
                read(tmp_path, tmp_path / "again", kind="devign", source=source)
        else:
            read(tmp_path, tmp_path / "again", kind="devign", source=source)


def test_without_the_hub_the_message_says_what_to_download_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEKD_RESOURCES", str(tmp_path / "resources"))

    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(CodekdError, match=r"no route.*hf download --repo-type dataset google/devign.*folder: PATH"):
        read(tmp_path, tmp_path / "out", kind="devign", source={"hub": "google/devign"})


def test_a_folder_without_the_files_is_told_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(CodekdError, match=r"nowhere does not hold the files of devign: train\.jsonl, valid\.jsonl"):
        read(tmp_path, tmp_path / "out", kind="devign", source={"folder": "nowhere"})


WRONG_LINES = {
    "no 'func'": json.dumps({key: value for key, value in devign_row(50).items() if key != "func"}).encode(),
    "an empty 'func'": json.dumps(devign_row(51, func=" \n")).encode(),
    "a 'func' that is no text": json.dumps(devign_row(52, func=7)).encode(),
    "a 'func' that is not UTF-8": b'{"project": "qemu", "target": 1, "func": "x = \\ud800", "idx": 53}',
    "a 'target' other than 0 to 1 or safe, vulnerable": json.dumps(devign_row(54, target=2)).encode(),
    "bytes that are not UTF-8": b'{"func": "\xff\xfe", "target": 1, "idx": 55, "project": "qemu"}',
    "text that is not JSON": b'{"func": "x',
    "JSON that is not an object": b"[1, 2]",
    "what an earlier row has": json.dumps(devign_row(0)).encode(),
}


@pytest.mark.parametrize("reason", WRONG_LINES)
def test_a_wrong_row_is_named_or_skipped_and_counted(reason: str, devign: Path, tmp_path: Path) -> None:
    path = devign / "devign" / "train.jsonl"
    path.write_bytes(path.read_bytes() + WRONG_LINES[reason] + b"\n")
    task = {"kind": "devign", "source": {"folder": "devign"}}
    with pytest.raises(CodekdError) as caught:
        read(devign, tmp_path / "error", **task)
    message = str(caught.value)
    assert "devign: 1 of 19 rows cannot be used" in message and "on_bad_rows: skip" in message
    assert f"1 with {reason} (train.jsonl, line 7)" in message
    frames, summary = read(devign, tmp_path / "skip", **task, on_bad_rows="skip")
    assert len(frames["train"]) == 6
    assert summary["left out"] == {reason: 1}


def test_all_wrong_rows_are_in_one_message(devign: Path, tmp_path: Path) -> None:
    path = devign / "devign" / "test.jsonl"
    path.write_bytes(path.read_bytes() + b"\n".join(WRONG_LINES.values()) + b"\nnope\n" * 5)
    with pytest.raises(CodekdError) as caught:
        read(devign, tmp_path / "out", kind="devign", source={"folder": "devign"})
    assert all(reason in str(caught.value) for reason in WRONG_LINES)
    assert "14 of 32 rows" in str(caught.value)
    assert "6 with text that is not JSON (test.jsonl, line 13, test.jsonl, line 16, " in str(caught.value)
    assert ", ...)" in str(caught.value)


def test_cubert_reads_shards_of_any_number(tmp_path: Path) -> None:
    def row(number: int) -> dict[str, str]:
        code = f"def f{number}(x):\n    try:\n        return x[{number}]\n    except __HOLE__:\n        return None\n"
        return {
            "function": code,
            "label": ("KeyError", "OSError")[number % 2],
            "info": f"dataset/ETHPy150Open owner/repository/module{number}.py f{number}",
        }

    for start, (part, count) in enumerate({"train": 3, "dev": 1, "eval": 2}.items()):
        for shard in range(count):
            rows = [row(100 * start + 10 * shard + n) for n in range(4)]
            write_lines(tmp_path / "cubert" / f"{part}.jsontxt-{shard:05d}-of-{count:05d}", rows)
    task = {"kind": "cubert", "source": {"folder": "cubert"}}
    frames, _ = read(tmp_path, tmp_path / "out", **task)
    assert [len(frames[part]) for part in SPLITS] == [12, 4, 8, 0]
    assert set(frames["test"]["label"]) == {1, 4}, "labels are numbered as CuBERT numbers them"
    assert set(frames["test"]["group"]) == {"owner/repository"}, "what is sampled are repositories"
    write_lines(tmp_path / "cubert" / "dev.jsontxt-00000-of-00001", [row(1) | {"function": "def f(): pass"}, row(2)])
    with pytest.raises(CodekdError, match="1 with code without exactly one __HOLE__"):
        read(tmp_path, tmp_path / "wrong", **task)


@pytest.fixture
def clones(tmp_path: Path) -> Path:
    folder = tmp_path / "clones"
    functions = [{"func": f"int f{n}() {{ return {n}; }}", "idx": str(1000 + n)} for n in range(60)]
    write_lines(folder / "data.jsonl", functions)
    for start, part in enumerate(("train", "valid", "test")):
        pairs = [(a, b) for a in range(20 * start, 20 * start + 20) for b in range(20 * start, a)]
        write_lines(folder / f"{part}.txt", [f"{1000 + a}\t{1000 + b}\t{(a + b) % 2}" for a, b in pairs])
    return tmp_path


def test_bigclonebench_keeps_a_fixed_share_of_train_and_valid(clones: Path, tmp_path: Path) -> None:
    task = {"kind": "bigclonebench", "source": {"folder": "clones"}}
    every, _ = read(clones, tmp_path / "all", **task, share=1.0)
    assert [len(every[part]) for part in SPLITS] == [190, 190, 190, 0]
    half, _ = read(clones, tmp_path / "half", **task, share=0.5)
    tenth, _ = read(clones, tmp_path / "tenth", **task)
    assert len(half["test"]) == len(tenth["test"]) == 190
    for part in ("train", "valid"):
        assert 60 < len(half[part]) < 130 and 8 <= len(tenth[part]) <= 35
        assert set(tenth[part]["id"]) < set(half[part]["id"]) < set(every[part]["id"])
    sample = every["test"].row(0, named=True)
    numbers = [int(sample[side].split()[1].strip("f()")) for side in ("code_a", "code_b")]
    assert sample["label"] == sum(numbers) % 2


def test_bigclonebench_of_the_hub_gives_the_same_pairs(clones: Path, tmp_path: Path) -> None:
    functions = {row["idx"]: row["func"] for row in map(json.loads, (clones / "clones/data.jsonl").open())}
    for part, name in (("train", "train"), ("valid", "validation"), ("test", "test")):
        lines = [line.split("\t") for line in (clones / f"clones/{part}.txt").read_text().splitlines()]
        rows = [
            {"id": n, "id1": int(a), "id2": int(b), "func1": functions[a], "func2": functions[b], "label": label == "1"}
            for n, (a, b, label) in enumerate(lines)
        ]
        (tmp_path / "copy/data").mkdir(parents=True, exist_ok=True)
        pl.DataFrame(rows).write_parquet(tmp_path / f"copy/data/{name}-00000-of-00001.parquet")
    local, _ = read(clones, tmp_path / "local", kind="bigclonebench", source={"folder": "clones"})
    copy, _ = read(tmp_path, tmp_path / "hub", kind="bigclonebench", source={"folder": "copy"})
    assert all(frame.equals(local[part]) for part, frame in copy.items())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1000\t7777\t1", "a function that is not in data.jsonl"),
        ("1000\t1001", "other than three fields"),
        ("1001\t1000\t1", "what an earlier row has"),
        ("1000\t1001\t5", "a 'label' other than 0 to 1 or different, clone"),
    ],
)
def test_a_wrong_pair_is_named(line: str, reason: str, clones: Path, tmp_path: Path) -> None:
    with (clones / "clones" / "train.txt").open("a") as stream:
        stream.write(f"{line}\n")
    task = {"kind": "bigclonebench", "source": {"folder": "clones"}}
    with pytest.raises(CodekdError, match=rf"1 of 631 rows.*1 with {reason} \(train\.txt, line 191\)"):
        read(clones, tmp_path / "out", **task)
    _, summary = read(clones, tmp_path / "skip", **task, on_bad_rows="skip")
    assert summary["left out"] == {reason: 1}


def own_rows(count: int) -> list[dict[str, Any]]:
    return [
        {"source": f'print("line {n}",\n  {n})', "kind": ("good", "bad")[n % 2], "project": f"p{n % 10}", "more": 1}
        for n in range(count)
    ]


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


WRITE: Mapping[str, Callable[[Path, list[dict[str, Any]]], None]] = {
    "csv": write_csv,
    "jsonl": write_lines,
    "parquet": lambda path, rows: pl.DataFrame(rows).write_parquet(path),
}
OWN = {"kind": "table", "code": "source", "label": "kind", "group": "project", "classes": ["good", "bad"]}


@pytest.mark.parametrize("form", WRITE)
def test_one_file_of_ones_own_is_split_by_group(form: str, tmp_path: Path) -> None:
    WRITE[form](tmp_path / f"mine.{form}", own_rows(100))
    task = OWN | {"files": {"all": f"mine.{form}"}, "shares": [0.6, 0.2, 0.2]}
    frames, _ = read(tmp_path, tmp_path / "out", **task)
    groups = {part: set(frame["group"]) for part, frame in frames.items()}
    assert [len(groups[part]) for part in SPLITS] == [6, 2, 2, 0]
    assert len(set().union(*groups.values())) == 10
    assert 'print("line 3",\n  3)' in pl.concat(frames.values())["code"]
    assert frames["train"].filter(pl.col("code").str.contains('"line 4[0-9]*[02468]"'))["label"].unique().to_list() in (
        [0],
        [],
    )
    write_csv(tmp_path / "same.csv", own_rows(100))
    same, _ = read(tmp_path, tmp_path / "same", **(task | {"files": {"all": "same.csv"}}))
    assert all(frame.equals(frames[part]) for part, frame in same.items()), "the format does not matter"


def test_files_for_every_split_and_pairs_and_numbers_for_classes(tmp_path: Path) -> None:
    for start, part in enumerate(("train", "valid", "test", "more")):
        rows = [{"before": f"a{10 * start + n}", "after": f"b{n}", "y": n % 3} for n in range(6)]
        write_csv(tmp_path / f"{part}.csv", [{**row, "y": ""} for row in rows] if part == "more" else rows)
    files = {"train": "train.csv", "valid": "valid.csv", "test": "test.csv", "unlabeled": "more.csv"}
    task = {"kind": "table", "code": ["before", "after"], "label": "y", "classes": ["x", "y", "z"], "files": files}
    frames, _ = read(tmp_path, tmp_path / "out", **task)
    assert [len(frames[part]) for part in SPLITS] == [6, 6, 6, 6]
    assert frames["valid"].filter(pl.col("code_a") == "a14").select("code_b", "label").rows() == [("b4", 1)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'"x\xff",good,p1\n', "a 'source' that is not UTF-8"),
        (b"x,good,p1,too,many\n", "more fields than the header"),
        (b"x\n", "no 'kind'"),
        (b"x,ugly,p1\n", "a 'kind' other than 0 to 1 or good, bad"),
        (b'x,"good"y,p1\n', "quotes that are not CSV"),
    ],
)
def test_a_wrong_row_of_a_csv_is_named(line: bytes, reason: str, tmp_path: Path) -> None:
    rows = [{key: row[key] for key in ("source", "kind", "project")} for row in own_rows(40)]
    write_csv(tmp_path / "mine.csv", rows)
    path = tmp_path / "mine.csv"
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(CodekdError, match=rf"table: 1 of 41 rows cannot be used: 1 with {reason} \(mine\.csv, line 82"):
        read(tmp_path, tmp_path / "out", **OWN, files={"all": "mine.csv"})


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.parquet").write_text("no")
    with pytest.raises(CodekdError, match=r"mine\.parquet cannot be read"):
        read(tmp_path, tmp_path / "out", **OWN, files={"all": "mine.parquet"})
