"""Longest sequence that a pretrained model can read. Imports nothing heavy: studies are planned with it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codekd.errors import CodekdError

AFTER_PADDING = (
    *("camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "mpnet"),
    *("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
)
"""Model types, as transformers names them, that count positions from the padding token's id + 1 on."""


def positions(config: Mapping[str, Any]) -> int | None:
    """Tokens of the longest sequence that a model with this ``config.json`` can read; None where nothing limits it.

    Position embeddings end there. Models with rotary embeddings were trained on no more, but for the factor by which
    some are stretched. Relative positions, of T5 and DeBERTa, have no end.
    """
    found = config.get("max_position_embeddings")
    if found is None and "relative_attention_num_buckets" not in config:
        found = config.get("n_positions")
    if not isinstance(found, int) or found < 1 or config.get("position_biased_input") is False:
        return None
    if config.get("model_type") in AFTER_PADDING:
        return found - config.get("pad_token_id", 1) - 1
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return int(found * max(1, scaling.get("factor") or 1))


def read_positions(config: Path) -> int | None:
    """:func:`positions` of a ``config.json``; None where it is missing or unreadable, which other checks report."""
    try:
        return positions(json.loads(config.read_text()))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def check_length(key: str, max_length: int, config: Path) -> None:
    """Raise an error for sequences that are longer than a pretrained model can read.

    Args:
        key: where the length is written, such as ``teachers.unixcoder.max_length``.
        max_length: the longest sequence in tokens.
        config: the model's ``config.json``.

    Raises:
        CodekdError: the length is too large; the message has the line to write.
    """
    limit = read_positions(config)
    if limit is not None and max_length > limit:
        raise CodekdError(f"{key} is {max_length}, but the model reads {limit} tokens: write `max_length: {limit}`.")
