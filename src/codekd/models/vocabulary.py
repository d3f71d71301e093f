"""Vocabulary of a tokenizer or of the lexer, as far as models depend on it, and the files it is read from."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


LEXER_FILE = "lexer.json"


def reads_lexemes(folder: Path) -> bool:
    """Whether the model or the sequences in a folder are of lexemes, with a lexer's file and no tokenizer."""
    return (folder / LEXER_FILE).exists()


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the files of the tokenizer, or of the lexer, from one folder to another."""
    for name in (LEXER_FILE,) if reads_lexemes(source) else TOKENIZER_FILES:
        copyfile(source / name, folder / name)


def with_hole(tokenizer: "Tokenizer") -> "Tokenizer":
    """Return a tokenizer like this one that knows ``__HOLE__`` as one token.

    The token is not marked as special: names of special tokens that occur in code are read as code.
    """
    from tokenizers import AddedToken, Tokenizer

    from codekd.data.hole import HOLE

    tokenizer.add_tokens([AddedToken(HOLE, special=False, normalized=False)])
    state = json.loads(tokenizer.to_str())
    for token in state["added_tokens"]:
        token["special"] &= token["content"] != HOLE
    return Tokenizer.from_str(json.dumps(state))


@dataclass(frozen=True)
class Vocabulary:
    """Number of token ids, and the ids with a meaning of their own.

    Attributes:
        size: number of token ids.
        pad_id: id of the padding token, or where there is none that of the end of a text, of the unknown token, or 0:
            models do not attend to padding, so any does.
        mask_id: id of the mask token, or where there is none that of the unknown token, or ``pad_id``.
        hole_id: id of ``__HOLE__``, None if there is none.
        special_ids: ids that stand for no code.
        sides_apart: whether each side of a pair is a sequence of its own.
    """

    size: int
    pad_id: int
    mask_id: int
    hole_id: int | None
    special_ids: tuple[int, ...] = ()
    sides_apart: bool = False


@cache
def read_vocabulary(folder: Path) -> Vocabulary:
    """Vocabulary of the tokenizer, or of the lexer, in a folder."""
    if reads_lexemes(folder):
        about = json.loads((folder / LEXER_FILE).read_text())
        size, padding, mask, hole, nothing = (
            about["ids"][key] for key in ("size", "padding", "mask", "hole", "nothing")
        )
        return Vocabulary(size, padding, mask, hole, (padding, mask, hole, nothing), about["sides_apart"])
    return vocabulary_of(load_tokenizer(folder))


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """Load the tokenizer in a folder, whichever class its model has."""
    from transformers import PreTrainedTokenizerFast

    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    return tokenizer


def vocabulary_of(tokenizer: "PreTrainedTokenizerBase") -> Vocabulary:
    """Vocabulary of a tokenizer."""
    from codekd.data.hole import HOLE

    hole = tokenizer.backend_tokenizer.token_to_id(HOLE)
    special = {*tokenizer.all_special_ids, *([] if hole is None else [hole])}
    end, unknown = tokenizer.eos_token_id, tokenizer.unk_token_id
    padding = first_of(tokenizer.pad_token_id, end, unknown, 0)
    mask = first_of(tokenizer.mask_token_id, unknown, padding)
    return Vocabulary(len(tokenizer), padding, mask, hole, tuple(sorted(special)))


def first_of(*ids: int | None) -> int:
    """First of some token ids that is not None."""
    return next(one for one in ids if one is not None)
