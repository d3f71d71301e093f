"""Stage ``pretrained``: files of a pretrained model as a Hugging Face folder, whatever their source."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoTokenizer

from codekd.errors import CodekdError
from codekd.models.unpickle import convert_pickles
from codekd.models.vocabulary import TOKENIZER_FILES, with_hole
from codekd.study import components

if TYPE_CHECKING:
    from codekd.study.job import Job


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Write the folder of a pretrained model; the tokenizer of one that will be trained gets the token ``__HOLE__``.

    Pickled weights are converted to safetensors, by :mod:`codekd.models.unpickle`.

    Raises:
        CodekdError: the encoder has another number of layers, or another width, than the config says; its weights are
            damaged or more than tensors; or its tokenizer gives no character offsets, or one number to two tokens.
    """
    origin = job.spec["origin"]
    components.load("teachers", origin["kind"]).obtain(origin, job.files(), folder)
    convert_pickles(folder)
    _check_shape(job, folder)
    _check_weights(folder)
    path = _fast_tokenizer(folder)
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if job.spec["trained"]:
        tokenizer = with_hole(tokenizer)
    _check_numbers(tokenizer)
    tokenizer.save(str(path))
    return {"vocabulary": tokenizer.get_vocab_size()}


def _check_numbers(tokenizer: Tokenizer) -> None:
    """Refuse two tokens of one number: a new token gets an old one's where the old numbers have gaps."""
    names: dict[int, str] = {}
    for token, number in tokenizer.get_vocab().items():
        if (other := names.setdefault(number, token)) != token:
            raise CodekdError(f"the tokenizer gives {other!r} and {token!r} the same number, {number}: renumber it")


def _fast_tokenizer(folder: Path) -> Path:
    """Path of ``tokenizer.json``, which is made from other files if missing; its settings then name all special tokens.

    Other files, or the model's type, may name some too, but only the tokenizer's two files are copied to other nodes.
    """
    path, settings = (folder / name for name in TOKENIZER_FILES)
    found = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if not found.is_fast:
        raise CodekdError(f"{type(found).__name__} cannot say which characters a token has; no tokenizer.json")
    if not (path.exists() and settings.exists()):
        found.save_pretrained(folder)
    vocabulary = Tokenizer.from_file(str(path)).get_vocab()
    special = {name: token for name, token in found.special_tokens_map.items() if token in vocabulary}
    settings.write_text(json.dumps(json.loads(settings.read_text()) | special, indent=2) + "\n")
    return path


def _check_shape(job: "Job", folder: Path) -> None:
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        shape = {"layers": config.num_hidden_layers, "width": config.hidden_size}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise CodekdError(f"config.json of the encoder describes no model of text that is known: {error}") from None
    for key, found in shape.items():
        if job.spec[key] != found:
            raise CodekdError(
                f"teachers.{job.coordinates[-1]}.{key} is {job.spec[key]}, but the encoder has {found}: "
                f"write `{key}: {found}`."
            )


def _check_weights(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        try:
            with safe_open(path, framework="pt") as file:
                file.keys()
        except SafetensorError as error:
            raise CodekdError(f"{path.name} of the encoder cannot be read as safetensors: {error}") from None
