"""Stage ``pretrained``: an encoder's files as a Hugging Face folder, whatever they came from."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekd.data.hole import HOLE
from codekd.errors import CodekdError
from codekd.study import components

if TYPE_CHECKING:
    from codekd.study.job import Job


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Obtain a pretrained encoder and teach its tokenizer the hole; the embedding grows when it is fine-tuned.

    Raises:
        CodekdError: the encoder has another number of layers, or another width, than the config says.
    """
    from tokenizers import AddedToken, Tokenizer

    source = job.spec["source"]
    components.load("teachers", source["kind"]).obtain(source, folder)
    _check_shape(job, folder)
    path = str(folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.add_special_tokens([AddedToken(HOLE, special=True, normalized=False)])
    tokenizer.save(path)
    return {"vocabulary": tokenizer.get_vocab_size()}


def _check_shape(job: "Job", folder: Path) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    for key, found in {"layers": config.num_hidden_layers, "width": config.hidden_size}.items():
        if job.spec[key] != found:
            raise CodekdError(
                f"teachers.{job.coordinates[-1]}.{key} is {job.spec[key]}, but the encoder has {found}: "
                f"write `{key}: {found}`."
            )
