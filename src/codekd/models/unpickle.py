"""Conversion of pickled weights to safetensors, in a process of its own that can do nothing else.

torch's weights-only unpickler builds tensors and refuses every other object. Should a file get round it, the process
has no environment to read keys from, and an audit hook ends it before it opens a socket, writes a file or starts a
program.
"""

import json
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from codekd.errors import CodekdError

if TYPE_CHECKING:
    from torch import Tensor

PICKLES = ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json")
"""Names of pickled weights, whole or in shards, and of the index of the shards."""

PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "TMPDIR")
"""Environment variables that the process of the conversion has."""

FORBIDDEN = (
    "socket.",
    "subprocess.",
    "ctypes.",
    "os.",
    "shutil.",
    "tempfile.",
    "urllib.",
    "pty.",
    "fcntl.",
    "_posixsubprocess",
)
"""Beginnings of the names of audit events that end the process of the conversion."""

ALLOWED = frozenset({"os.listdir", "os.scandir", "os.fwalk", "os.walk"})
"""Exceptions to :data:`FORBIDDEN`, which imports cause."""


def convert_pickles(folder: Path) -> None:
    """Replace the pickled weights in a folder, ``pytorch_model*.bin``, by safetensors of the same tensors.

    Raises:
        CodekdError: a file has other objects than tensors, or is damaged.
    """
    for pattern in PICKLES:
        for source in sorted(folder.glob(pattern)):
            target = folder / _converted(source.name)
            if source.suffix == ".json":
                index = json.loads(source.read_text())
                index["weight_map"] = {name: _converted(shard) for name, shard in index["weight_map"].items()}
                target.write_text(json.dumps(index, indent=2) + "\n")
            else:
                _convert(source, target)
            source.unlink()


def _converted(name: str) -> str:
    """Name of what becomes of a file: ``model-00001-of-00002.safetensors`` of ``pytorch_model-00001-of-00002.bin``."""
    return name.replace("pytorch_model", "model", 1).replace(".bin", ".safetensors", 1)


def _convert(source: Path, target: Path) -> None:
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    command = [sys.executable, "-P", "-m", __name__, str(source), str(target)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"])[-1]
        raise CodekdError(
            f"{source.name} is refused: {reason} Weights are tensors by name and nothing else: name a repository or a "
            f"revision that has them as safetensors."
        )


def _refuse_all_else(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: end the process where a file is opened for writing, or anything but reading is done."""
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or (event.startswith(FORBIDDEN) and event not in ALLOWED):
        _end(f"it does more than hold weights ({event}).")


def _end(reason: str) -> NoReturn:
    os.write(2, f"{reason}\n".encode())
    os._exit(1)


def _weights(found: Any) -> dict[str, "Tensor"]:
    """Tensors by name, none of which shares its memory with another, as the format wants it."""
    from torch import Tensor

    if not isinstance(found, dict) or not found:
        _end("it holds no tensors by name.")
    weights: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            _end(f"{name!r} in it is no tensor.")
        own = tensor.detach().contiguous()
        weights[name] = own.clone() if own.untyped_storage().data_ptr() in taken else own
        taken.add(own.untyped_storage().data_ptr())
    return weights


def _main(source: str, target: str) -> NoReturn:
    import torch
    from safetensors.torch import save_file

    small = BytesIO()
    torch.save({"a": torch.zeros(1)}, small)
    small.seek(0)
    torch.load(small, weights_only=True)  # imports what loading needs, before the hook forbids it
    sys.addaudithook(_refuse_all_else)
    try:
        save_file(_weights(torch.load(source, map_location="cpu", weights_only=True)), target, {"format": "pt"})
    except Exception as error:  # of whatever kind a damaged file causes
        _end(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}.")
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
