"""Inference of a model on a set of examples, in eval mode and without gradients."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from codekd.data.batches import Batch, Encoded, Rows, sorted_batches
from codekd.errors import NotFiniteError
from codekd.models.device import Device
from codekd.models.head import ClassifierOutput

BATCH_SIZE = 64
BATCH_TOKENS = 16384

NAMED = 32
"""Largest number of examples that a message names."""


@torch.inference_mode()
def outputs(
    model: PreTrainedModel, data: Encoded, device: Device, hidden_states: bool = False, rows: Rows | None = None
) -> Iterator[tuple[Rows, Batch, ClassifierOutput]]:
    """Run a model on examples in batches, the longest examples first.

    Args:
        model: put into eval mode, and back into its own after the last batch.
        data: encoded examples.
        device: where the model is, and its precision.
        hidden_states: whether outputs have states.
        rows: indices of the examples in ``data``, each used once; None for all.

    Yields:
        Indices of a batch's examples in ``data``, the batch, and the model's output.
    """
    was_training = model.training
    model.eval()
    rows = np.arange(len(data)) if rows is None else rows
    try:
        for chosen in sorted_batches(data.padded_lengths[rows], BATCH_SIZE, BATCH_TOKENS):
            batch = data.batch(rows[chosen], device.device)
            with device.autocast():
                output = model(
                    input_ids=batch.input_ids,
                    attention_mask=batch.attention_mask,
                    token_type_ids=batch.token_type_ids,
                    output_hidden_states=hidden_states,
                )
            yield rows[chosen], batch, output
    finally:
        model.train(was_training)


def predict(model: PreTrainedModel, data: Encoded, device: Device) -> NDArray[np.float32]:
    """Raw logits ``(examples, classes)`` of a model, in the order of ``data``.

    Raises:
        NotFiniteError: some logits are not finite; the message names the examples.
    """
    logits = np.empty((len(data), model.config.num_labels), dtype=np.float32)
    for rows, _, output in outputs(model, data, device):
        logits[rows] = output.logits.float().cpu().numpy()
    if len(wrong := np.flatnonzero(~np.isfinite(logits).all(1))):
        raise NotFiniteError(
            f"the logits of {len(wrong)} of {len(data)} examples are not finite ({named(data, wrong)})"
        )
    return logits


def named(data: Encoded, rows: Rows) -> str:
    """Ids of the examples at ``rows`` for a message, not more than fit into one."""
    return ", ".join(data.ids[row] for row in rows[:NAMED]) + (", ..." if len(rows) > NAMED else "")


@torch.inference_mode()
def pooled_widths(model: PreTrainedModel, data: Encoded) -> tuple[int, ...]:
    """Widths of the pooled states of a model on the CPU: of its embedding output and of every layer."""
    batch = data.batch(np.arange(1), torch.device("cpu"))
    output = model(batch.input_ids, batch.attention_mask, batch.token_type_ids, output_hidden_states=True)
    return tuple(states.shape[-1] for states in output.pooled)
