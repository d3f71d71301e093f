"""Accuracy with which a model guesses hidden tokens of code that it did not learn from."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from codekd.data.batches import Encoded, sorted_batches
from codekd.errors import NotFiniteError
from codekd.models.device import Device
from codekd.models.inference import BATCH_SIZE, BATCH_TOKENS
from codekd.training.step import drop_words


@torch.inference_mode()
def masked_accuracy(
    model: Any, logits: Callable[[Tensor], Tensor], valid: Encoded, device: Device, share: float
) -> float:
    """Share of hidden tokens that are guessed; the same ones are hidden every time.

    Args:
        model: gives the states of all layers on request.
        logits: guesses ``(tokens, vocabulary)`` from the last states ``(tokens, width)`` of the hidden tokens.
        valid: sequences in which tokens are hidden.
        device: where the model is, and its precision.
        share: share of the tokens that are hidden.

    Raises:
        NotFiniteError: the logits are not finite.
    """
    model.eval()
    right = count = 0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for rows in sorted_batches(valid.lengths, BATCH_SIZE, BATCH_TOKENS):
            batch = valid.batch(rows, device.device)
            shown = drop_words(batch, share, valid.vocabulary)
            with device.autocast():
                output = model(shown, batch.attention_mask, output_hidden_states=True)
            hidden = shown != batch.input_ids
            best, found = logits(output.hidden_states[-1][hidden]).max(-1)
            if not best.isfinite().all():
                raise NotFiniteError("what the model guesses masked tokens by is not finite")
            right += int((found == batch.input_ids[hidden]).sum())
            count += int(hidden.sum())
    return right / max(count, 1)
