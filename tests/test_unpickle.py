"""Pickled weights become the same safetensors, and nothing else that a pickle may ask for is done."""

import builtins
import json
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_checkpoints import pretrained, unixcoder

from codekd.errors import CodekdError
from codekd.models.unpickle import convert_pickles

WEIGHTS = {
    "a": torch.arange(12.0).reshape(3, 4).T,
    "half": torch.ones(2, dtype=torch.bfloat16),
    "ids": torch.arange(4),
    "none": torch.zeros(0, 3),
    "one": torch.tensor(2.5),
}


def converted(folder: Path) -> dict[str, torch.Tensor]:
    convert_pickles(folder)
    assert not list(folder.glob("pytorch_model*"))
    return {name: one for path in sorted(folder.glob("*.safetensors")) for name, one in load_file(path).items()}


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_the_same(zipped: bool, tmp_path: Path) -> None:
    shared = torch.rand(5)
    weights = OrderedDict(WEIGHTS | {"tied": shared, "to": shared, "part": shared[1:3]})
    torch.save(weights, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    found = converted(tmp_path)
    assert found.keys() == weights.keys()
    assert all(found[name].dtype == one.dtype and torch.equal(found[name], one) for name, one in weights.items())


def test_shards_keep_their_index(tmp_path: Path) -> None:
    names = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    for name, key in zip(names, ("a", "ids"), strict=True):
        torch.save({key: WEIGHTS[key]}, tmp_path / name)
    index = {"metadata": {"total_size": 80}, "weight_map": dict(zip(("a", "ids"), names, strict=True))}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert converted(tmp_path).keys() == {"a", "ids"}
    found = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert found["weight_map"] == {
        "a": "model-00001-of-00002.safetensors",
        "ids": "model-00002-of-00002.safetensors",
    }


def test_a_checkpoint_with_pickled_weights_alone_is_the_same_encoder(tmp_path: Path) -> None:
    """UniXcoder, CodeBERT and GraphCodeBERT are published so."""
    unixcoder(tmp_path / "safe")
    weights = load_file(tmp_path / "safe" / "model.safetensors")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    for path in (tmp_path / "safe").iterdir():
        if path.suffix != ".safetensors":
            (pickled / path.name).write_bytes(path.read_bytes())
    torch.save(weights, pickled / "pytorch_model.bin")
    for name in ("safe", "pickled"):
        pretrained(tmp_path / name, tmp_path / f"{name}-out")
    one, other = (load_file(tmp_path / f"{name}-out" / "model.safetensors") for name in ("safe", "pickled"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert not (tmp_path / "pickled-out" / "pytorch_model.bin").exists()


def test_pickles_are_left_alone_where_there_are_safetensors(tmp_path: Path) -> None:
    unixcoder(tmp_path / "model")
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(pickle.dumps(Asks(os.system, f"touch {tmp_path / 'pwned'}")))
    pretrained(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "pwned").exists() and not list((tmp_path / "out").glob("*.bin"))


class Asks:
    """Calls a function where it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.asked = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.asked


def tricks(path: Path) -> dict[str, Any]:
    """Objects that would make a file if they were unpickled as they ask to be."""
    code = f"open({str(path)!r}, 'w').close()"
    touch = Asks(os.system, f"touch {path}")
    return {
        "system": touch,
        "exec": Asks(builtins.exec, code),
        "eval": Asks(builtins.eval, f"open({str(path)!r}, 'w')"),
        "popen": Asks(subprocess.Popen, ["touch", str(path)]),
        "nested": Asks(pickle.loads, pickle.dumps(touch)),
        "storage": Asks(torch.storage._load_from_bytes, pickle.dumps(touch)),
        "getattr": Asks(getattr, "a", "upper"),
        "import": Asks(__import__, "antigravity"),
        "open": Asks(open, str(path), "w"),
    }


FORMS = ("legacy", "bare", "key")


@pytest.mark.parametrize(
    ("trick", "form"), [*((one, "zip") for one in tricks(Path("x"))), *(("system", one) for one in FORMS)]
)
def test_what_a_pickle_asks_for_is_not_done(trick: str, form: str, tmp_path: Path) -> None:
    path, evil = tmp_path / "pytorch_model.bin", tricks(tmp_path / "pwned")[trick]
    if form == "bare":
        path.write_bytes(pickle.dumps({"a": evil}))
    else:
        weights = {"a": torch.zeros(1), "b": evil} if form != "key" else {"a": torch.zeros(1), ("b", 1): [evil]}
        torch.save(weights, path, _use_new_zipfile_serialization=form != "legacy")
    with pytest.raises(CodekdError, match=r"pytorch_model\.bin is refused: .*tensors by name and nothing else"):
        convert_pickles(tmp_path)
    assert not (tmp_path / "pwned").exists() and not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"x", pickle.dumps([1]), b"PK\3\4" + bytes(100)])
def test_what_holds_no_weights_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(CodekdError, match=r"pytorch_model\.bin is refused"):
        convert_pickles(tmp_path)


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "open('made', 'w')",
        "import os; os.system('touch made')",
        "import subprocess; subprocess.run(['touch', 'made'])",
        "import pathlib; pathlib.Path('made').mkdir()",
        "import os; os.rename('there', 'made')",
        "import ctypes; ctypes.CDLL(None)",
    ],
)
def test_the_process_can_do_nothing_else(code: str, tmp_path: Path) -> None:
    """Whatever gets round the unpickler."""
    (tmp_path / "there").touch()
    hook = "import sys; from codekd.models.unpickle import _refuse_all_else; sys.addaudithook(_refuse_all_else)\n"
    done = subprocess.run(
        [sys.executable, "-c", hook + code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "it does more than hold weights" in done.stderr
    assert not (tmp_path / "made").exists()
