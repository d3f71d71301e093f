"""Masked language modelling: prediction of hidden tokens from the others (Devlin et al. 2019, arXiv 1810.04805).

Shapes:
    batch, length: rows and padded length of the token ids.
    tokens: hidden tokens of a batch, all rows together.
    vocabulary, width: those of the token ``embeddings``.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from codekd.data.batches import Batch


class MaskedHead(nn.Module):
    """Prediction head of BERT: dense layer, GELU, layer norm, then the token embeddings as weights, with a bias.

    Args:
        states: width of the states that tokens are predicted from.
        embeddings: token embeddings ``(vocabulary, width)``; only their shape is used.
        gain: initial factor of the normalised states.
    """

    def __init__(self, states: int, embeddings: Tensor, gain: float = 1.0) -> None:
        super().__init__()
        tokens, width = embeddings.shape
        norm = nn.LayerNorm(width)
        nn.init.constant_(norm.weight, gain)
        self.transform = nn.Sequential(nn.Linear(states, width), nn.GELU(), norm)
        self.bias = nn.Parameter(torch.zeros(tokens))

    def forward(self, states: Tensor, embeddings: Tensor) -> Tensor:
        """Logits ``(tokens, vocabulary)`` of hidden tokens, given their states ``(tokens, states)``."""
        return self.transform(states.float()) @ embeddings.T + self.bias


def gain_for(embeddings: Tensor) -> float:
    """Initial gain of a :class:`MaskedHead` with which the first logits vary by no more than 1.

    Some architectures draw large embeddings.
    """
    scale = embeddings.detach().std().item() * embeddings.shape[1] ** 0.5
    return min(1.0, 1 / max(scale, 1e-6))


def hidden_tokens(batch: Batch) -> Tensor:
    """Mask ``(batch, length)`` of the tokens that are hidden and to be predicted."""
    return batch.shown != batch.input_ids


def masked_loss(states: Tensor, batch: Batch, head: MaskedHead, embeddings: Tensor) -> Tensor:
    """Mean cross-entropy of the hidden tokens, given last states ``(batch, length, states)``; 0 if there are none.

    Where ``batch`` is a part of a batch, the mean is over the whole.
    """
    hidden = hidden_tokens(batch)
    logits = head(states[hidden], embeddings)
    total = cross_entropy(logits.float(), batch.input_ids[hidden], reduction="sum")
    return total / hidden.sum().clamp(min=1) * batch.share(lambda one: hidden_tokens(one).sum())
