"""Bidirectional GRU classifier whose results do not depend on the padding.

Shapes:
    batch: rows that the model reads: one an example, or two where the sides of a pair are encoded apart.
    length: tokens of the longest row; other rows are padded on the right.
    hidden: units of one direction. A layer's states are ``2 * hidden`` wide, the forward direction first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from codekd.models.head import ClassifierOutput, classifier
from codekd.models.lexical import token_embedding
from codekd.models.pooling import by_example, check_pooling, pool, pooled_width, row_pooling, state_at

POOLINGS = ("final", "mean", "max", "hole", "pair")


class BiGRUConfig(PreTrainedConfig):
    """Configuration of a BiGRU classifier (``num_labels`` is inherited).

    Attributes:
        vocab_size: number of token ids.
        pad_token_id: id of the padding token.
        hidden_size: units per direction, and width of the token embeddings.
        num_hidden_layers: number of bidirectional layers.
        dropout: dropout probability after the embedding, between layers and in the head.
        pooling: ``final`` (forward state at the last token, backward one at the first), ``mean``, ``max``, ``hole`` or
            ``pair``, see :func:`codekd.models.pooling.pool`.
        hole_token_id: id of ``__HOLE__``, None if the tokenizer has none.
        lexemes: arguments of :class:`codekd.models.lexical.RunEmbedding`, None for a model that reads tokens.
        sides_apart: whether rows 2i and 2i + 1 are the two sides of pair i.
        reused_head: input width and hidden width of a head that is taken from another model and reads a projection of
            the pooled states; None for a head of its own.
    """

    model_type = "codekd-bigru"

    vocab_size: int = 2000
    pad_token_id: int = 0
    hidden_size: int = 176
    num_hidden_layers: int = 2
    dropout: float = 0.0
    pooling: str = "final"
    hole_token_id: int | None = None
    lexemes: dict[str, int] | None = None
    sides_apart: bool = False
    reused_head: list[int] | None = None


class BiGRULayer(nn.Module):
    """Bidirectional GRU layer: one GRU per direction, the backward one on rows reversed by their own lengths.

    So padding comes last for both and reaches no state of a real token. A packed sequence does the same at a third of
    the speed on CPU.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.ahead = nn.GRU(width, hidden)
        self.back = nn.GRU(width, hidden)

    def forward(self, states: Tensor, reversal: Tensor) -> Tensor:
        """Compute the layer's states ``(length, batch, 2 * hidden)``.

        Args:
            states: input of the layer, ``(length, batch, width)``.
            reversal: order that reverses every row, from :func:`reversal_of`.
        """
        ahead, _ = self.ahead(states)
        back, _ = self.back(reordered(states, reversal))
        return torch.cat([ahead, reordered(back, reversal)], dim=-1)


class BiGRUForSequenceClassification(PreTrainedModel):
    """BiGRU classifier: embedding, bidirectional GRU layers, pooling, head on the concatenated directions."""

    config_class = BiGRUConfig
    own_layers = True

    def __init__(self, config: BiGRUConfig) -> None:
        super().__init__(config)
        check_pooling(config.pooling, POOLINGS, config.hole_token_id)
        hidden = config.hidden_size
        width = config.lexemes["width"] if config.lexemes else hidden
        self.embedding = token_embedding(config.lexemes, config.vocab_size, config.pad_token_id, width)
        self.layers = nn.ModuleList(
            BiGRULayer(width if layer == 0 else 2 * hidden, hidden) for layer in range(config.num_hidden_layers)
        )
        self.dropout = nn.Dropout(config.dropout)
        pooled = pooled_width(2 * hidden, "pair" if config.sides_apart else config.pooling)
        self.projector, self.head = classifier(
            pooled, 2 * hidden, config.num_labels, config.dropout, config.reused_head
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep PyTorch's initialisation: the normal one of transformers is too small for a GRU."""

    def get_input_embeddings(self) -> nn.Module:
        """Embedding of tokens or of lexemes."""
        return self.embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the embedding of tokens or of lexemes."""
        self.embedding = value

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> ClassifierOutput:
        """Classify rows of token ids.

        Args:
            input_ids: ``(batch, length)`` int64, padded on the right.
            attention_mask: ``(batch, length)``, 1 at tokens and 0 at padding.
            token_type_ids: side of a pair, 0 or 1, of every token; read by the pooling ``pair`` alone.
            output_hidden_states: whether the output has states and pooled states.

        Returns:
            Logits and, on request, states, which are zero at padding.
        """
        lengths = attention_mask.sum(1)
        reversal = reversal_of(lengths, input_ids.shape[1])
        mask = attention_mask.T.unsqueeze(-1).bool()
        # Time-first from here on, the order that PyTorch's GRU runs in.
        states = [self.embedding(input_ids).transpose(0, 1).contiguous().masked_fill(~mask, 0)]
        for layer in self.layers:
            states.append(layer(self.dropout(states[-1]), reversal).masked_fill(~mask, 0))
        batch_first = [layer_states.transpose(0, 1) for layer_states in states]

        def vectors_of(layer_states: Tensor) -> Tensor:
            how = row_pooling(self.config.pooling, self.config.sides_apart)
            if how == "final" and layer_states.shape[-1] == 2 * self.config.hidden_size:
                return final_states(layer_states, lengths)
            # The embedding output has no directions, hence no final state.
            how = "mean" if how == "final" else how
            return pool(layer_states, input_ids, attention_mask, how, self.config.hole_token_id, token_type_ids)

        apart, vectors = self.config.sides_apart, vectors_of(batch_first[-1])
        features = self.projector(by_example(vectors, apart))
        shown = batch_first if output_hidden_states else []
        return ClassifierOutput(
            logits=self.head(features),
            hidden_states=tuple(shown) or None,
            pooled=tuple(by_example(vectors_of(layer_states), apart) for layer_states in shown) or None,
            features=features,
            vectors=vectors if apart else None,
        )


def reversal_of(lengths: Tensor, length: int) -> Tensor:
    """Order of a time-first batch's vectors that reverses every row by its own length; it is its own inverse.

    Padding keeps its place.

    Args:
        lengths: tokens of every row, ``(batch,)`` int64.
        length: tokens of a padded row.

    Returns:
        Places in the flattened batch, ``(length * batch,)`` int64.
    """
    sequences = lengths.shape[0]
    time = torch.arange(length, device=lengths.device).unsqueeze(1)
    source = torch.where(time < lengths, lengths - 1 - time, time)
    return (source * sequences + torch.arange(sequences, device=lengths.device)).flatten()


def reordered(states: Tensor, rows: Tensor) -> Tensor:
    """Vectors of ``states`` ``(length, batch, width)`` in the order of ``rows`` ``(length * batch,)``."""
    return states.flatten(0, 1).index_select(0, rows).view(states.shape)


def final_states(states: Tensor, lengths: Tensor) -> Tensor:
    """Last state of each direction, which has read the whole row, ``(batch, 2 * hidden)``.

    Args:
        states: ``(batch, length, 2 * hidden)``. The forward direction, the first half, ends at the last token; the
            backward one ends at the first.
        lengths: tokens of every row, ``(batch,)`` int64.
    """
    ahead, back = states.chunk(2, dim=-1)
    return torch.cat([state_at(ahead, lengths - 1), back[:, 0]], dim=-1)


AutoConfig.register(BiGRUConfig.model_type, BiGRUConfig)
AutoModelForSequenceClassification.register(BiGRUConfig, BiGRUForSequenceClassification)
