"""Tokenizer of tasks with a hole, as ``AutoTokenizer`` loads it."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from transformers import AutoTokenizer, BatchEncoding, PreTrainedTokenizerFast

from codekd.data.encode import Encoding
from codekd.data.hole import HOLE
from codekd.models.encoder import EncoderConfig


class HoleTokenizer(PreTrainedTokenizerFast):
    """Tokenizer that encodes code as the window of tokens round its one ``__HOLE__`` that the model was trained on.

    The window has ``model_max_length`` tokens, whether truncation is asked for or not. ``AutoTokenizer`` finds this
    class once ``codekd.models.register`` is imported.
    """

    # Without an `__init__`: for a class that has one, transformers builds another tokenizer than tokenizer.json has.

    @cached_property
    def _encodings(self) -> dict[int, Encoding]:
        return {}

    def _encoding(self, max_length: int) -> Encoding:
        if max_length not in self._encodings:
            spec = {"max_length": max_length, "has_hole": True, "prefix": self.init_kwargs.get("prefix", [])}
            self._encodings[max_length] = Encoding(self, spec)
        return self._encodings[max_length]

    def _encode_plus(
        self,
        text: str | Sequence[str],
        text_pair: None = None,
        add_special_tokens: bool = True,
        padding_strategy: Any = False,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        **settings: Any,
    ) -> BatchEncoding:
        """Encode code as the model reads it.

        Raises:
            ValueError: the code has not exactly one hole or is a pair; or offsets, overflowing tokens, or ids without
                special tokens are asked for, which a window has not.
        """
        texts = [text] if isinstance(text, str) else list(text)
        if text_pair is not None or not all(isinstance(one, str) and one.count(HOLE) == 1 for one in texts):
            raise ValueError(f"this tokenizer reads code with exactly one {HOLE}")
        if (
            not add_special_tokens
            or settings.get("return_offsets_mapping")
            or settings.get("return_overflowing_tokens")
        ):
            raise ValueError("this tokenizer gives the window round the hole with its special tokens, and no offsets")
        encoding = self._encoding(max_length or self.model_max_length)
        ids = [encoding.shown(one)[0] for one in texts]
        values = {"input_ids": ids}
        if return_token_type_ids is not False:
            values["token_type_ids"] = [[0] * len(one) for one in ids]
        padded = self.pad(
            values,
            padding=padding_strategy,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
            return_attention_mask=return_attention_mask,
            return_tensors=return_tensors,
        )
        if isinstance(text, str) and return_tensors is None:
            return BatchEncoding({name: value[0] for name, value in padded.items()})
        return padded


AutoTokenizer.register(EncoderConfig, tokenizer_class=HoleTokenizer)
