"""Tokenizer files with which transformers encodes code as a model was trained on it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerBase

from codekd.errors import CodekdError
from codekd.models.vocabulary import TOKENIZER_FILES

INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


def special_tokens(tokenizer: PreTrainedTokenizerBase, prefix: Sequence[str] = ()) -> tuple[list[int], list[int]]:
    """Ids of the tokens that a model wants round code.

    Args:
        tokenizer: the model's tokenizer.
        prefix: tokens that the model wants between the first one and the code.

    Returns:
        Ids before the code, and ids after each piece of it; none where the tokenizer has no such tokens.

    Raises:
        CodekdError: the tokenizer does not know a token of ``prefix``.
    """
    vocabulary = tokenizer.get_vocab()
    if unknown := [token for token in prefix if token not in vocabulary]:
        raise CodekdError(f"the tokenizer has no {unknown[0]!r}, which the teacher's `prefix` names")
    cls, sep = ([] if token is None else [token] for token in (tokenizer.cls_token_id, tokenizer.sep_token_id))
    return [*cls, *(vocabulary[token] for token in prefix)], sep


def write_tokenizer(tokenizer: PreTrainedTokenizerBase, spec: Mapping[str, Any], folder: Path) -> None:
    """Write a tokenizer that adds the tokens which a model wants round code, and truncates to the model's length.

    ``tokenizer(code, truncation=True)``, or with both sides of a pair, gives what the ``encoded`` node has. In a task
    with a hole the window round it is no truncation that transformers knows: :class:`codekd.models.hole.HoleTokenizer`
    makes it.

    Args:
        tokenizer: the model's tokenizer.
        spec: spec of the ``encoded`` node: ``prefix``, ``max_length``, ``columns`` (of code) and ``has_hole``.
        folder: where ``tokenizer.json`` and its settings are written.
    """
    before, after = special_tokens(tokenizer, spec["prefix"])
    names = {one: str(tokenizer.convert_ids_to_tokens(one)) for one in (*before, *after)}
    single = [*(names[one] for one in before), "$A", *(names[one] for one in after)]
    own = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    own.no_padding()
    own.no_truncation()
    own.post_processor = TemplateProcessing(
        single=single,
        pair=[*single, "$B:1", *(f"{names[one]}:1" for one in after)],
        special_tokens=[(name, one) for one, name in names.items()],
    )
    path, settings = (folder / name for name in TOKENIZER_FILES)
    own.save(str(path))
    about: dict[str, Any] = {
        name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)
    }
    rest = (spec["max_length"] - len(before)) % 2 if len(spec["columns"]) == 2 else 0  # a pair shows an even number
    about |= {"model_max_length": spec["max_length"] - rest, "model_input_names": INPUTS, "split_special_tokens": True}
    about |= {"clean_up_tokenization_spaces": False, "padding_side": "right", "truncation_side": "right"}
    if spec["has_hole"]:
        about |= {"tokenizer_class": "HoleTokenizer", "prefix": list(spec["prefix"])}
    else:
        about |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    settings.write_text(json.dumps(about, indent=2) + "\n")
