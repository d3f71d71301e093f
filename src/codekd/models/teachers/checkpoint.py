"""Any encoder that transformers knows, in a folder of one's own or on the hub: UniXcoder, ModernBERT, CodeT5, ..."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from codekd.data.sources import Source
from codekd.errors import CodekdError
from codekd.models.teachers.base import Teacher
from codekd.models.unpickle import PICKLES

WEIGHTS = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "vocab.txt", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model"),
)
FILES = ("config.json", *WEIGHTS, *TOKENIZER)
"""Files of a checkpoint; pickled weights only where there are no others."""


class Config(Teacher):
    """Pretrained encoder as a Hugging Face checkpoint.

    Weights are read as safetensors; where a checkpoint has only pickled ones (``pytorch_model.bin``), they are
    converted once, by an unpickler that builds tensors and nothing else.
    """

    kind: Literal["checkpoint"] = "checkpoint"
    source: Source = Field(description="A folder with the checkpoint's files, or a repository of the hub.")

    def local_files(self, folder: Path) -> dict[str, list[Path]]:
        """Files of a local source, by name; none for a source on the hub.

        Raises:
            CodekdError: the folder holds no such checkpoint.
        """
        if self.source.folder is None:
            return {}
        root = self.source.path(folder)
        found = {path.name: [path] for path in _with_weights(lambda patterns: _matching(root, patterns))}
        _check_names(found, str(root))
        return found

    def origin(self) -> dict[str, Any]:
        """Source of the pretrained files, for their node's identity; the content of local files is not in it."""
        return {"kind": self.kind, **self.source.identity()}


def obtain(origin: Mapping[str, Any], files: Mapping[str, Sequence[Path]], folder: Path) -> None:
    """Copy the encoder's files into a folder, from the hub unless it was made of local ones.

    Args:
        origin: result of :meth:`Config.origin`.
        files: local files by name, see :meth:`Config.local_files`.
        folder: where the files are written.

    Raises:
        CodekdError: the hub cannot be reached, or has no such checkpoint.
    """
    paths = [path for one in files.values() for path in one] or _download(origin["hub"], origin["revision"])
    for path in paths:
        shutil.copyfile(path, folder / path.name)


def _download(name: str, revision: str) -> list[Path]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from codekd.data.wheels import resources_folder

    cache = resources_folder() / "hub"

    def had(patterns: Sequence[str]) -> list[Path]:
        root = Path(snapshot_download(name, revision=revision, cache_dir=cache, allow_patterns=list(patterns)))
        return _matching(root, patterns)

    try:
        paths = _with_weights(had)
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError, ValueError) as error:
        raise CodekdError(
            f"the model {name} at {revision} cannot be had from the hub: {error}. On a machine without network, copy "
            f"what `hf download {name} --revision {revision} --local-dir PATH` writes elsewhere, and name it with "
            f"`source: {{folder: PATH}}`."
        ) from None
    _check_names([path.name for path in paths], name)
    return paths


def _matching(root: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted(path for pattern in patterns for path in root.glob(pattern) if path.is_file())


def _with_weights(find: Callable[[Sequence[str]], list[Path]]) -> list[Path]:
    """Files of a checkpoint, as ``find`` gives them by patterns; pickled weights only where there are no others."""
    paths = find(FILES)
    return paths if any(path.suffix == ".safetensors" for path in paths) else paths + find(PICKLES)


def _check_names(names: Iterable[str], where: str) -> None:
    names = set(names)
    if "config.json" not in names:
        raise CodekdError(f"{where} is no checkpoint: it has no config.json")
    if not any(name.endswith((".safetensors", ".bin")) for name in names):
        raise CodekdError(
            f"{where} has no weights: neither model.safetensors nor pytorch_model.bin, whole or in shards"
        )
    if not names.intersection(TOKENIZER):
        raise CodekdError(f"{where} has no tokenizer; needed is one of {', '.join(TOKENIZER)}")
