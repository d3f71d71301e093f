"""Masked language modelling: guess hidden tokens from the others (Devlin et al. 2019, arXiv 1810.04805)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from codekd.data.batches import Batch


class MaskedHead(nn.Module):
    """BERT's: dense, GELU, normalisation, then the token embeddings as the last layer, with a bias.

    Args:
        states: width of the states that tokens are guessed from.
        embeddings: those of the tokens, ``(vocabulary, width)``; only their shape is used.
        gain: what the normalised states are multiplied by at first.
    """

    def __init__(self, states: int, embeddings: Tensor, gain: float = 1.0) -> None:
        super().__init__()
        tokens, width = embeddings.shape
        norm = nn.LayerNorm(width)
        nn.init.constant_(norm.weight, gain)
        self.transform = nn.Sequential(nn.Linear(states, width), nn.GELU(), norm)
        self.bias = nn.Parameter(torch.zeros(tokens))

    def forward(self, states: Tensor, embeddings: Tensor) -> Tensor:
        """Logits ``(tokens, vocabulary)`` of states ``(tokens, states)``."""
        return self.transform(states.float()) @ embeddings.T + self.bias


def gain_for(embeddings: Tensor) -> float:
    """Gain with which the first logits vary by no more than 1: some architectures draw large embeddings."""
    scale = embeddings.detach().std().item() * embeddings.shape[1] ** 0.5
    return min(1.0, 1 / max(scale, 1e-6))


def hidden_tokens(batch: Batch) -> Tensor:
    """Which tokens ``(batch, length)`` are to be guessed."""
    return batch.shown != batch.input_ids


def masked_loss(states: Tensor, batch: Batch, head: MaskedHead, embeddings: Tensor) -> Tensor:
    """Mean cross-entropy of the hidden tokens, given states ``(batch, length, width)``; 0 if there are none.

    Over the whole batch where this one is a part.
    """
    hidden = hidden_tokens(batch)
    logits = head(states[hidden], embeddings)
    total = cross_entropy(logits.float(), batch.input_ids[hidden], reduction="sum")
    return total / hidden.sum().clamp(min=1) * batch.share(lambda one: hidden_tokens(one).sum())
