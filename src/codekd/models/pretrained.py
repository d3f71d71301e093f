"""Stage ``pretrained``: an encoder's files as a Hugging Face folder, whatever they came from."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekd.data.hole import HOLE
from codekd.study import components

if TYPE_CHECKING:
    from codekd.study.job import Job


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Obtain a pretrained encoder and teach its tokenizer the hole; the embedding grows when it is fine-tuned."""
    from tokenizers import AddedToken, Tokenizer

    source = job.spec["source"]
    components.load("teachers", source["kind"]).obtain(source, folder)
    path = str(folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.add_special_tokens([AddedToken(HOLE, special=True, normalized=False)])
    tokenizer.save(path)
    return {"vocabulary": tokenizer.get_vocab_size()}
