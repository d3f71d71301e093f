"""Pinned wheels: downloaded, verified, read as text."""

import ast
import io
import json
import stat
import zipfile
from collections import Counter
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest
from data_stages import LISTS, pins, run_stage

from codekd.data import wheels
from codekd.data.corpus import MAX_MODULE_BYTES, wheel_functions
from codekd.data.functions import functions_of
from codekd.data.pins import Pin, read_pins
from codekd.data.wheels import fetch, open_wheel
from codekd.errors import CodekdError

pytest_plugins = ["data_fixtures"]

F = "def f():\n    return 1\n"


def wheel(folder: Path, members: dict[str, str | bytes], links: tuple[str, ...] = ()) -> tuple[Path, Pin]:
    """A wheel with these members, and a pin that fits it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (stat.S_IFLNK if name in links else stat.S_IFREG) << 16
            archive.writestr(info, content)
    return write_wheel(folder, buffer.getvalue())


def write_wheel(folder: Path, content: bytes) -> tuple[Path, Pin]:
    pin = Pin(name="toy", version="1.0", sha256=sha256(content).hexdigest())
    path = folder / pin.filename
    path.write_bytes(content)
    return path, pin


def read(path: Path, pin: Pin) -> tuple[list[str], Counter[str]]:
    counts: Counter[str] = Counter()
    return [module for module, _ in wheel_functions(path, pin, counts)], counts


def test_pinned_lists_agree_with_the_split() -> None:
    current, previous = (read_pins(LISTS / f"{name}.txt") for name in ("current", "previous"))
    assert (len(current), len(previous)) == (66, 44)
    assert {pin.name for pin in previous} <= {pin.name for pin in current}
    split = json.loads((LISTS / "split.json").read_text())
    assert {pin.name for pin in read_pins(LISTS / "transfer.txt")} == {n for n in split if split[n] == "transfer"}
    assert {pin.name for pin in current} == {name for name in split if split[name] != "transfer"}


def test_models_are_chosen_by_ten_packages_and_compared_on_thirteen() -> None:
    """Intervals resample packages; every one of these gives examples to all three tasks."""
    split = json.loads((LISTS / "split.json").read_text())
    in_two_releases = [split[pin.name] for pin in read_pins(LISTS / "previous.txt")]
    for part, packages in {"valid": 10, "test": 13}.items():
        assert in_two_releases.count(part) == list(split.values()).count(part) == packages


@pytest.mark.parametrize(
    "line", ["celery", "celery>=5 --hash=sha256:" + "0" * 64, "celery==5 --hash=sha256:12", "-r x"]
)
def test_a_line_that_is_no_pin_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"# comment\n\n{line}\n")
    with pytest.raises(CodekdError, match=r"list\.txt, line 3: .*name==version"):
        read_pins(path)


@pytest.mark.parametrize("content", [None, b"\xff"], ids=["folder", "no text"])
def test_a_list_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content) if content else path.mkdir()
    with pytest.raises(CodekdError, match=r"list\.txt cannot be read as a list of pinned wheels: "):
        read_pins(path)


def test_a_name_is_pinned_once(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\n".join(f"a=={version} --hash=sha256:{'0' * 64}  # note" for version in (1, 2)))
    with pytest.raises(CodekdError, match="line 2: a is already pinned"):
        read_pins(path)


def test_functions_are_found_with_their_source_at_the_margin() -> None:
    source = (
        "class A:\n    @property\n    def x(self):\n        def inner():\n            return '''\nleft'''\n"
        "        return inner\n\nif A:\n    async def g(): pass  # é\n"
    )
    found = {function.qualname: function.code for function in functions_of(source)}
    assert list(found) == ["A.x", "A.x.<locals>.inner", "g"]
    assert found["A.x"].startswith("@property\ndef x(self):\n    def inner():")
    assert found["A.x.<locals>.inner"] == "def inner():\n    return '''\nleft'''"
    assert found["g"] == "async def g(): pass  # é"


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    def f(self):\n        return 1 \\\n\n",
        "class A:\n  @(  # why\n    a\n    @ b)\n  @c\n  def f(self): pass\n",
        "@\\\na\ndef f(): pass\n",
        "class A:\n\tdef f(self):\n\f\t\ta = 1\n\t\treturn a\n",
        "class A:\n\t@a\n \f\tdef f(self):\n\t\treturn 1\n",
    ],
    ids=["continued last line", "decorator in brackets", "continued decorator", "form feed", "form feed before def"],
)
def test_a_function_parses_on_its_own(source: str) -> None:
    (function,) = functions_of(source)
    (alone,) = ast.parse(function.code).body
    whole = ast.parse(source).body[0]
    (expected,) = whole.body if isinstance(whole, ast.ClassDef) else [whole]
    assert ast.dump(alone) == ast.dump(expected)


def test_vendored_unsafe_oversized_and_unparsable_modules_are_counted_and_left_out(tmp_path: Path) -> None:
    members: dict[str, str | bytes] = {
        "toy/good.py": F,
        "toy/tests/test_good.py": F,
        "toy/latin.py": "# coding: latin-1\ndef f(): return 'é'\n".encode("latin-1"),
        "toy/_vendor/six.py": F,
        "toy/vendor/six.py": F,
        "../evil.py": F,
        "/etc/evil.py": F,
        "toy/link.py": "/etc/passwd",
        "toy/bomb.py": b"#" * (MAX_MODULE_BYTES + 1),
        "toy/old.py": "def f():\n    print 'python 2'\n",
        "toy/deep.py": "def f(): return " + "(" * 5000 + ")" * 5000,
        "toy/null.py": b"def f(): pass\x00",
        "toy/data.txt": F,
    }
    modules, counts = read(*wheel(tmp_path, members, links=("toy/link.py",)))
    assert modules == ["toy/good.py", "toy/latin.py", "toy/tests/test_good.py"]
    assert counts == {
        "modules": 3,
        "vendored modules": 2,
        "unsafe members": 3,
        "oversized modules": 1,
        "unparsable modules": 3,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["toy-1.0.whl"], "nothing is extracted"


def test_a_truncated_wheel_is_named(tmp_path: Path) -> None:
    path, _ = wheel(tmp_path, {"toy/good.py": F * 100})
    broken = write_wheel(tmp_path, path.read_bytes()[:-40])
    with pytest.raises(CodekdError, match=r"toy-1\.0\.whl: cannot read this wheel"):
        read(*broken)


def test_a_wheel_of_another_content_is_refused(tmp_path: Path) -> None:
    path, pin = wheel(tmp_path, {"toy/good.py": F})
    with pytest.raises(CodekdError, match=f"toy==1.0 .* expected sha256 {'0' * 64}, found {pin.sha256}"):
        open_wheel(path, pin.model_copy(update={"sha256": "0" * 64}))


def test_a_corrupt_wheel_is_fetched_again_and_what_is_there_stays(resources: Path, tmp_path: Path) -> None:
    chosen = pins("current")
    kept, corrupt = fetch(chosen, resources, "test")[:2]
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / kept.name).write_bytes(kept.read_bytes())
    (tmp_path / "wheels" / corrupt.name).write_bytes(corrupt.read_bytes()[:-1])
    (tmp_path / "wheels" / ".download-of-a-killed-run").mkdir()
    before = (tmp_path / "wheels" / kept.name).stat().st_mtime_ns
    fetched = fetch(chosen[:2], tmp_path, "test")
    assert [path.read_bytes() for path in fetched] == [kept.read_bytes(), corrupt.read_bytes()]
    assert fetched[0].stat().st_mtime_ns == before
    assert {path.name for path in (tmp_path / "wheels").iterdir()} == {kept.name, corrupt.name, ".lock"}


def test_an_interrupted_download_keeps_the_chunks_that_arrived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [Pin(name=f"p{n}", version="1", sha256="0" * 64) for n in range(wheels.CHUNK * 3)]

    def download(chunk: list[Pin], folder: Path) -> None:
        if chunk[0].name != "p0":
            raise KeyboardInterrupt
        for pin in chunk:
            (folder / pin.filename).touch()

    monkeypatch.setattr(wheels, "_download", download)
    with pytest.raises(KeyboardInterrupt):
        fetch(wanted, tmp_path, "test")
    assert len(list((tmp_path / "wheels").glob("*.whl"))) == wheels.CHUNK


def test_two_versions_of_a_project_go_into_separate_calls() -> None:
    chosen = [Pin(name=name, version=version, sha256="0" * 64) for name in "abc" for version in "12"]
    chunks = list(wheels._chunks(chosen))
    assert sorted(pin.filename for chunk in chunks for pin in chunk) == sorted(pin.filename for pin in chosen)
    assert [len({pin.name for pin in chunk}) for chunk in chunks] == [3, 3]


def test_without_a_network_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": "/dev/null", "PIP_RETRIES": "1"}
    for name, value in (offline | {"PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CodekdError, match=r"docker-.*\.whl: it said .*Connection refused.*Connect.*put files"):
        fetch(pins("current", {"docker": ""}), tmp_path, "test")
    assert not list((tmp_path / "wheels").glob("*.whl"))


def test_a_full_disk_and_a_wrong_hash_are_told_apart() -> None:
    pin = Pin(name="a", version="1", sha256="0" * 64)
    full = wheels._failure("ERROR: Could not install: [Errno 28] No space left on device", [pin], Path("w"))
    assert "no space left on the disk" in str(full)
    said = f"    a==1 from file:///x:\n        Expected sha256 {'0' * 64}\n             Got        {'1' * 64}\n"
    assert f"a==1 is not the pinned file: expected sha256 {'0' * 64}, found {'1' * 64}" in str(
        wheels._failure(said, [pin], Path("w"))
    )


def test_the_stage_reads_real_wheels(corpora: dict[str, Path]) -> None:
    current = pl.read_parquet(corpora["current"] / "functions.parquet")
    assert set(current["package"]) == {"docker", "traitlets", "redis"}
    assert "ContainerApiMixin.create_container" in set(current["qualname"])
    for code in current["code"].sample(300, seed=0):
        assert isinstance(ast.parse(code).body[0], ast.FunctionDef | ast.AsyncFunctionDef)


def test_a_folder_for_downloads_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    pins = read_pins(LISTS / "previous.txt")[:1]
    with pytest.raises(CodekdError, match=r"cannot be kept in .*file/wheels: .*another folder with \$CODEKD_RESOURCES"):
        fetch(pins, tmp_path / "file", "test")


def test_the_stage_is_deterministic(corpora: dict[str, Path], resources: Path, tmp_path: Path) -> None:
    spec = {"wheels": [pin.model_dump() for pin in pins("current")]}
    summary = run_stage("codekd.data.corpus", tmp_path / "again", spec)
    again, first = (folder / "functions.parquet" for folder in (tmp_path / "again", corpora["current"]))
    assert again.read_bytes() == first.read_bytes()
    assert summary["functions"] == len(pl.read_parquet(again))
