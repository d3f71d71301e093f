"""Config and data as attacks: none is run, leaves its folder, hangs, or fills the memory; each is answered plainly."""

import html
import json
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_stages import run_stage
from synthetic_study import make, write_study
from test_checkpoints import modernbert, pretrained
from test_corpus import read, wheel

from codekd.data.pins import read_pins
from codekd.errors import CodekdError

ROOT = Path(__file__).parents[1]
BASE = (ROOT / "config" / "smoke.yaml").read_text()
GIB = 2**30
SECONDS = 20

BOMB = "[&a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1], {}]".format(
    ", ".join(f"&{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in zip("abcdefg", "bcdefgh", strict=True))
)

CONFIGS = {
    "a study's name that leaves the folder": (("name: smoke", "name: ../../pwned"), "should match pattern"),
    "an absolute name": (("name: smoke", "name: /tmp/pwned"), "should match pattern"),
    "a name for a shell": (("name: smoke", "name: a; touch pwned"), "should match pattern"),
    "a name with a command": (("name: smoke", "name: $(touch pwned)"), "should match pattern"),
    "a name with a wildcard": (("name: smoke", "name: '{teacher}'"), "should match pattern"),
    "a name of two lines": (("name: smoke", 'name: "a\\nb"'), "should match pattern"),
    "a name of 10 MB": (("name: smoke", f"name: {'a' * 10_000_000}"), "should match pattern"),
    "a key of 10 MB": (("grid:", f"? {'a' * 10_000_000}\n: 1\ngrid:"), "unknown key"),
    "a task's name that leaves": (("tasks:\n", "tasks:\n  ../pwned: {preset: defect}\n"), "should match pattern"),
    "a student named by dots": (("students:\n", "students:\n  ..: {preset: bigru-1.5m}\n"), "should match pattern"),
    "a kind that is a path": (("grid:", "methods: {x: {kind: ../../os}}\ngrid:"), "there is no kind"),
    "a kind that is a module": (("grid:", "methods: {x: {kind: os.system}}\ngrid:"), "there is no kind"),
    "a kind that is private": (("grid:", "methods: {x: {kind: _angles}}\ngrid:"), "there is no kind"),
    "a tag that calls": (
        ("name: smoke", "name: !!python/object/apply:os.system ['touch pwned']"),
        "could not determine a constructor",
    ),
    "a tag that imports": (("name: smoke", "name: !!python/name:os.system"), "could not determine a constructor"),
    "a bomb for a number": (("grid:", f"methods: {{kd: {{alpha: {BOMB}}}}}\ngrid:"), "methods.kd.alpha"),
    "a bomb for a name": (("name: smoke", f"name: {BOMB}"), "name: input should be a valid string"),
    "a bomb to search": (
        ("grid:", f"search: {{methods: {{dist: {{gamma: {BOMB}}}}}}}\ngrid:"),
        "search: method.gamma",
    ),
    "lists in lists": (("name: smoke", f"name: {'[' * 100_000}{']' * 100_000}"), "nested too deeply"),
    "no number": (("{epochs: 2}", "{learning_rate: .nan}"), "should be a finite number"),
    "an infinite number": (("{epochs: 2}", "{learning_rate: .inf}"), "should be a finite number"),
    "a huge number": (("{epochs: 2}", f"{{epochs: 1{'0' * 5000}}}"), "Exceeds the limit"),
    "pins that are none": (("pins: corpus/current.txt", "pins: /etc/passwd"), "is not a pin"),
    "a split that is none": (("split: corpus/split.json", "split: /etc/passwd"), "cannot read"),
    "a prompt that reaches into objects": (
        (
            "teachers:\n",
            "teachers:\n  x: {kind: lm, prompt: '{code.__class__}', layers: 1, width: 1, source: {folder: x}}\n",
        ),
        "`prompt` needs {code} once",
    ),
    "a repository that is a path": (
        ("teachers:\n", "teachers:\n  x: {kind: checkpoint, source: {hub: ../../x}, layers: 1, width: 1}\n"),
        "should match pattern",
    ),
    "a revision that is a path": (
        (
            "teachers:\n",
            "teachers:\n  x: {kind: checkpoint, source: {hub: a/b, revision: a/../../x}, layers: 1, width: 1}\n",
        ),
        "should match pattern",
    ),
    "a wheel's folder that leaves": (
        ("teachers:\n", "teachers:\n  x: {preset: minilm, folder: ../../etc}\n"),
        "must be a relative path inside the wheel",
    ),
}


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 * GIB, 4 * GIB))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_as_an_attack_is_refused_in_a_few_words(name: str, tmp_path: Path) -> None:
    (old, new), message = CONFIGS[name]
    assert old in BASE
    (tmp_path / "corpus").symlink_to(ROOT / "config" / "corpus")
    (tmp_path / "hostile.yaml").write_text(BASE.replace(old, new, 1))
    done = subprocess.run(
        [sys.executable, "-c", "from codekd.cli import app; app()", "plan", "hostile.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        preexec_fn=limited,
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr) < 5_000
    assert {path.name for path in tmp_path.rglob("*")} >= {"corpus", "hostile.yaml"}
    assert not list(tmp_path.parent.rglob("*pwned*"))


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://evil.example/simple",
        "../evil==1.0 --hash=sha256:" + "0" * 64,
        "evil==1.0;touch --hash=sha256:" + "0" * 64,
        "evil==../../1 --hash=sha256:" + "0" * 64,
        "evil @ file:///etc/passwd",
        "evil==1.0",
    ],
)
def test_a_pin_as_an_attack_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "pins.txt").write_text(line + "\n")
    with pytest.raises(CodekdError, match=r"pins\.txt, line 1: .* is not a pin"):
        read_pins(tmp_path / "pins.txt")


DEEP = {
    "brackets": "x = " + "(" * 100_000,
    "signs": "x = " + "-" * 200_000 + "1",
    "attributes": "x = a" + ".b" * 200_000,
    "calls": "x = f" + "()" * 100_000,
    "sums": "x = 1" + " + 1" * 100_000,
    "blocks": "".join(" " * depth + "if x:\n" for depth in range(2_000)),
    "strings": "x = " + "f'{" * 200,
}


@pytest.mark.parametrize("name", DEEP)
def test_source_as_an_attack_on_parsers_is_left_out(name: str, tmp_path: Path) -> None:
    """In a process of its own: a parser that overflows its stack takes the process along."""
    path, pin = wheel(tmp_path, {"toy/deep.py": DEEP[name], "toy/good.py": "def f():\n    return 1\n"})
    script = (
        "import sys; from pathlib import Path; from collections import Counter;"
        "from codekd.data.corpus import wheel_functions; from codekd.data.pins import Pin;"
        "pin = Pin(name='toy', version='1.0', sha256=sys.argv[2]);"
        "print([function.qualname for _, function in wheel_functions(Path(sys.argv[1]), pin, Counter())])"
    )
    command = [sys.executable, "-c", script, str(path), pin.sha256]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout == "['f']\n"


def test_a_wheel_that_runs_when_it_is_imported_is_only_read(tmp_path: Path) -> None:
    evil = f"import pathlib\npathlib.Path({str(tmp_path / 'pwned')!r}).touch()\ndef f():\n    return 1\n"
    functions, _ = read(*wheel(tmp_path, {"toy/__init__.py": evil, "setup.py": evil}))
    assert len(functions) == 2 and not (tmp_path / "pwned").exists()


def test_a_wheel_that_unpacks_to_gigabytes_is_left_out(tmp_path: Path) -> None:
    functions, _ = read(*wheel(tmp_path, {f"toy/bomb{number}.py": b"#" * 2**27 for number in range(2)}))
    assert functions == []


class Evil:
    """Runs a command where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_model_folder_with_a_pickle_in_it_is_refused(tmp_path: Path) -> None:
    modernbert(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(tmp_path / "pwned")))
    with pytest.raises(CodekdError, match="is refused"):
        pretrained(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "pwned").exists()


def test_a_pickle_named_safetensors_is_not_loaded(tmp_path: Path) -> None:
    modernbert(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(pickle.dumps(Evil(tmp_path / "pwned")))
    with pytest.raises(CodekdError):
        pretrained(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "pwned").exists()


def test_code_beside_a_model_is_not_run(tmp_path: Path) -> None:
    modernbert(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    classes = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"auto_map": classes}))
    (tmp_path / "model" / "evil.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'pwned')!r}).touch()\n")
    pretrained(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "pwned").exists() and not (tmp_path / "out" / "evil.py").exists()


def table_task(path: Path, out: Path) -> None:
    task = {"kind": "table", "files": {"all": f"*{path.suffix}"}, "classes": ["good", "bad"]}
    run_stage("codekd.data.examples", out, {"task": task, "split": {}}, {"file/all/0": path})


def test_a_parquet_file_with_a_pickle_in_its_metadata_is_only_read(tmp_path: Path) -> None:
    evil = pickle.dumps(Evil(tmp_path / "pwned"))
    hostile = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": evil}
    field = pa.field("code", pa.string(), metadata=hostile)
    codes = [f"x = {number}" for number in range(60)]
    table = pa.table(
        [codes, ["good", "bad"] * 30], schema=pa.schema([field, ("label", pa.string())], {b"pandas": evil})
    )
    pq.write_table(table, tmp_path / "notes.parquet")
    table_task(tmp_path / "notes.parquet", tmp_path / "examples")
    assert not (tmp_path / "pwned").exists()


def test_a_parquet_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.parquet").write_bytes(b"PAR1" + b"\xff" * 1000 + b"PAR1")
    with pytest.raises(CodekdError, match=r"notes\.parquet cannot be read"):
        table_task(tmp_path / "notes.parquet", tmp_path / "examples")


def test_markup_in_names_and_code_is_text_in_the_report(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>{{ 7*7 }}"
    classes = ["<script>alert(1)</script>", "$\\frac{"]
    tasks = {"defect": {"kind": "defect", "metric": "accuracy", "classes": classes}}
    job = write_study(tmp_path, tasks, students={evil: 1_500_000}, seeds=(1,), examples=60)
    page = (make(job, tmp_path, drawn=True) / "index.html").read_text()
    assert "<script>alert" not in page and "<img src=x" not in page
    assert evil in html.unescape(page)


def test_no_secret_of_the_environment_is_written_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from codekd.study.graph import Node
    from codekd.study.stage import execute

    secret = "hf_thisIsNotForAnyoneElse"
    for name in ("HF_TOKEN", "PIP_INDEX_URL", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, secret)
    node = Node("examples", ("clone",), {"limit": 1}, ("codekd.errors",))

    def fails(job, folder):
        raise RuntimeError("something else")

    with pytest.raises(SystemExit):
        execute(fails, node.job_file(tmp_path), tmp_path / node.folder / "manifest.json", tmp_path / "log.txt")
    execute(lambda *_: {}, node.job_file(tmp_path), tmp_path / node.folder / "manifest.json", tmp_path / "log.txt")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written and not any(secret in path.read_text() for path in written)


def test_examples_of_a_table_keep_their_place(tmp_path: Path) -> None:
    """Groups and ids from a file of one's own name no file."""
    rows = [{"code": f"x = {n}", "label": "good" if n % 2 else "bad", "project": f"../../{n}"} for n in range(60)]
    pl.DataFrame(rows).write_ndjson(tmp_path / "notes.jsonl")
    task = {"kind": "table", "files": {"all": "*.jsonl"}, "classes": ["good", "bad"], "group": "project"}
    run_stage(
        "codekd.data.examples",
        tmp_path / "examples",
        {"task": task, "split": {}},
        {"file/all/0": tmp_path / "notes.jsonl"},
    )
    assert {path.suffix for path in (tmp_path / "examples").rglob("*") if path.is_file()} == {".parquet"}
