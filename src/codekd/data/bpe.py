"""Stage ``tokenizers``: a byte-level BPE vocabulary learnt from the training code of one or more tasks."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from codekd.data.hole import HOLE
from codekd.data.read import read_examples
from codekd.models.vocabulary import with_hole

if TYPE_CHECKING:
    from codekd.study.job import Job

CLS, PAD, SEP, UNK, MASK = "<s>", "<pad>", "</s>", "<unk>", "<mask>"


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Learn a vocabulary of ``spec["size"]`` tokens from the labelled and unlabelled training code of all parents."""

    def texts() -> Iterator[str]:
        for task, columns in sorted(job.spec["columns"].items()):
            for split in ("train", "unlabeled"):
                examples = read_examples(job.parents[f"examples/{task}"], split, columns)
                for column in columns:
                    yield from examples[column]

    tokenizer = train(texts(), job.spec["size"])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token=CLS,
        pad_token=PAD,
        sep_token=SEP,
        unk_token=UNK,
        mask_token=MASK,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
    return {"vocabulary": tokenizer.get_vocab_size()}


def train(texts: Iterator[str], size: int) -> Tokenizer:
    """Train a byte-level BPE of at most ``size`` tokens; whitespace is kept as it is and ``__HOLE__`` is one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[CLS, PAD, SEP, UNK, MASK, AddedToken(HOLE, special=True, normalized=False)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return with_hole(tokenizer)
