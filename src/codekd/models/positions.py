"""How long a sequence a pretrained model can read. Light: studies are planned with it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codekd.errors import CodekdError

AFTER_PADDING = (
    *("camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "mpnet"),
    *("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
)
"""Types of models, as transformers names them, that count positions from the padding token's id + 1 on."""


def positions(config: Mapping[str, Any]) -> int | None:
    """Tokens of the longest sequence that a model with this ``config.json`` can read; None where nothing limits it.

    Models with position embeddings have no more; those that rotate states were trained on no more, but for the factor
    by which some are stretched. T5's and DeBERTa's relative positions have no end.
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
    """:func:`positions` of a ``config.json``; None where it is not there or cannot be read, which others find."""
    try:
        return positions(json.loads(config.read_text()))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def check_length(key: str, max_length: int, config: Path) -> None:
    """Refuse sequences that are longer than a pretrained model can read.

    Args:
        key: where the length is written, such as ``teachers.unixcoder.max_length``.
        max_length: the longest sequence in tokens.
        config: the model's ``config.json``.

    Raises:
        CodekdError: with the line to write.
    """
    limit = read_positions(config)
    if limit is not None and max_length > limit:
        raise CodekdError(f"{key} is {max_length}, but the model reads {limit} tokens: write `max_length: {limit}`.")
