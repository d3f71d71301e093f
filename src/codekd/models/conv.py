"""Convolutional classifier: convolutions and self-attention over embeddings, attention pooling, head; fast on a CPU.

Shapes:
    rows: sequences that the model reads: one an example, or two where the sides of a pair are encoded apart.
    length: tokens or lexemes of the longest row; other rows are padded on the right.
    width: that of all states, ``hidden_size``.
    heads: attention heads of a block or of the pooling.

A ``mask`` ``(rows, length, 1)`` is 1 at tokens and 0 at padding, in the dtype of the states.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from codekd.models.head import ClassifierOutput, classifier
from codekd.models.lexical import SCALE, token_embedding
from codekd.models.pooling import by_example, check_pooling, compared, first_hole, pool, row_pooling, state_at

POOLINGS = ("mean", "max", "hole", "pair")


class ConvConfig(PreTrainedConfig):
    """Configuration of a convolutional classifier (``num_labels`` is inherited).

    Attributes:
        lexemes: arguments of :class:`codekd.models.lexical.RunEmbedding`, None for a model that reads tokens.
        vocab_size: number of token ids, for a model that reads tokens.
        pad_token_id: id of the padding token.
        hidden_size: width of all states.
        num_hidden_layers: number of blocks.
        num_attention_layers: number of the blocks, the last ones, that have self-attention instead of a convolution.
        kernel_size: positions that a convolution covers, an odd number.
        intermediate_size: width of the hidden layer inside a block.
        attention_heads: heads of the self-attention and of the attention pooling.
        head_size: width of the hidden layer of the classification head.
        max_positions: positions before and after the hole, or from the beginning on, that have an embedding of their
            own.
        dropout: dropout probability after the embedding and in the head.
        pooling: pooling of the states that distillation losses compare, see :func:`codekd.models.pooling.pool`;
            ``hole`` also adds the state at the hole to what the head reads.
        hole_token_id: id of ``__HOLE__``, None if there is none.
        sides_apart: whether rows 2i and 2i + 1 are the two sides of pair i.
        reused_head: input width and hidden width of a head that is taken from another model and reads a projection of
            the pooled states; None for a head of its own.
    """

    model_type = "codekd-conv"

    lexemes: dict[str, int] | None = None
    vocab_size: int = 2000
    pad_token_id: int = 0
    hidden_size: int = 64
    num_hidden_layers: int = 2
    num_attention_layers: int = 0
    kernel_size: int = 5
    intermediate_size: int = 128
    attention_heads: int = 4
    head_size: int = 192
    max_positions: int = 128
    dropout: float = 0.1
    pooling: str = "mean"
    hole_token_id: int | None = None
    sides_apart: bool = False
    reused_head: list[int] | None = None


class Block(nn.Module):
    """Base of the layers: a perceptron ``within`` each position; subclasses add what a position sees of others."""

    def __init__(self, config: ConvConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.within = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, config.intermediate_size),
            nn.ReLU(),
            nn.Linear(config.intermediate_size, width),
        )


class ConvBlock(Block):
    """Layer of a depthwise convolution over positions and a perceptron at each, with a residual connection."""

    def __init__(self, config: ConvConfig) -> None:
        super().__init__(config)
        width, kernel = config.hidden_size, config.kernel_size
        # A 2-D convolution with one dimension of size 1 takes a third of the time of a 1-D one on CPUs, whose 1-D
        # kernel wants states channel by channel.
        self.convolution = nn.Conv2d(width, width, (1, kernel), padding=(0, kernel // 2), groups=width)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States ``(rows, length, width)`` from ``states`` of that shape; zero where ``mask`` is zero."""
        seen = self.convolution(states.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)
        return (states + self.within(seen)) * mask


class AttentionBlock(Block):
    """Layer of multi-head self-attention and a perceptron, each with normalisation before and a residual connection."""

    def __init__(self, config: ConvConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.heads = config.attention_heads
        self.norm = nn.LayerNorm(width)
        self.inputs = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States ``(rows, length, width)`` from ``states`` of that shape; zero where ``mask`` is zero."""
        # Each (rows, heads, length, width / heads).
        query, key, value = (
            one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in self.inputs(self.norm(states)).chunk(3, -1)
        )
        seen = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask.bool().transpose(1, 2).unsqueeze(1)
        )
        states = states + self.output(seen.transpose(1, 2).flatten(2))
        return (states + self.within(states)) * mask


class AttentionPooling(nn.Module):
    """Pooling of a row into means of its states, with learned weights for each head, and their maximum."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.scores = nn.Linear(width, heads)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool states into one vector a row, ``(rows, (heads + 1) * width)``.

        Args:
            states: ``(rows, length, width)``, zero where ``mask`` is zero.
            mask: ``(rows, length, 1)``; the vector of a row that is zero everywhere means nothing.
        """
        # A large negative number is added at padding: that is one operation, and masked filling several.
        unseen = (1 - mask) * (torch.finfo(states.dtype).min / 2)
        weights = (self.scores(states) + unseen).softmax(1)
        means = (weights.transpose(1, 2).to(states.dtype) @ states).flatten(1)
        return torch.cat([means, (states + unseen).amax(1)], dim=-1)


class ConvForSequenceClassification(PreTrainedModel):
    """Convolutional classifier: embeddings of tokens and of positions, blocks, attention pooling, head."""

    config_class = ConvConfig
    own_layers = True

    def __init__(self, config: ConvConfig) -> None:
        super().__init__(config)
        check_pooling(config.pooling, POOLINGS, config.hole_token_id)
        width = config.hidden_size
        self.embedding: nn.Module = token_embedding(config.lexemes, config.vocab_size, config.pad_token_id, width)
        self.places = nn.Embedding(2 * config.max_positions, width)
        nn.init.normal_(self.places.weight, std=SCALE)
        self.dropout = nn.Dropout(config.dropout)
        convolutions = config.num_hidden_layers - config.num_attention_layers
        kinds = [ConvBlock] * convolutions + [AttentionBlock] * config.num_attention_layers
        self.layers = nn.ModuleList(kind(config) for kind in kinds)
        self.attention = AttentionPooling(width, config.attention_heads)
        vector = (config.attention_heads + 1 + (config.pooling == "hole")) * width
        pooled = 2 * vector if self._compares else vector
        self.projector, self.head = classifier(
            pooled, config.head_size, config.num_labels, config.dropout, config.reused_head
        )
        self.post_init()

    @property
    def _compares(self) -> bool:
        return self.config.sides_apart or self.config.pooling == "pair"

    def _init_weights(self, module: nn.Module) -> None:
        """Keep PyTorch's initialisation, and that of the embeddings."""

    def get_input_embeddings(self) -> nn.Module:
        """Embedding of tokens or of lexemes."""
        return self.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the embedding of tokens or of lexemes."""
        self.embedding = value

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> ClassifierOutput:
        """Classify rows of ids of tokens or lexemes.

        Args:
            input_ids: ``(rows, length)`` int64, padded on the right.
            attention_mask: ``(rows, length)``, 1 at tokens and 0 at padding.
            token_type_ids: side of a pair, 0 or 1, of every token; read where both sides of a pair are one row.
            output_hidden_states: whether the output has states and pooled states.

        Returns:
            Logits and, on request, states, which are zero at padding. ``pooled`` has no learned weights and is no input
            of the head.
        """
        hole = self._hole(input_ids)
        embedded = self.embedding(input_ids) + self._places(input_ids, hole)
        mask = attention_mask.unsqueeze(-1).to(embedded.dtype)
        states = [self.dropout(embedded) * mask]
        for layer in self.layers:
            states.append(layer(states[-1], mask))

        apart = self.config.sides_apart
        if self.config.pooling == "pair" and not apart:
            assert token_type_ids is not None
            second = token_type_ids.unsqueeze(-1).to(mask.dtype)
            vectors = compared(*(self._of_side(states[-1], mask * side) for side in (1 - second, second)))
        else:
            vectors = self._vectors(states[-1], mask, hole)
        features = self.projector(by_example(vectors, apart))

        def pooled(layer_states: Tensor) -> Tensor:
            how, hole_id = row_pooling(self.config.pooling, apart), self.config.hole_token_id
            found = pool(layer_states, input_ids, attention_mask, how, hole_id, token_type_ids)
            return by_example(found, apart)

        shown = states if output_hidden_states else []
        return ClassifierOutput(
            logits=self.head(features),
            hidden_states=tuple(shown) or None,
            pooled=tuple(map(pooled, shown)) or None,
            features=features,
            vectors=vectors if apart else None,
        )

    def _hole(self, input_ids: Tensor) -> Tensor | None:
        """Position ``(rows,)`` of each row's first hole, 0 in a row without; None for a model without holes."""
        hole = self.config.hole_token_id
        return None if hole is None else first_hole(input_ids, hole)

    def _places(self, input_ids: Tensor, hole: Tensor | None) -> Tensor:
        """Embeddings of positions, counted from the hole or the beginning: ``(rows or 1, length, width)``."""
        most, place = self.config.max_positions, torch.arange(input_ids.shape[1], device=input_ids.device)
        if hole is None:
            return self.places((place + most).clamp(max=2 * most - 1)).unsqueeze(0)
        return self.places((place + most - hole.unsqueeze(1)).clamp(0, 2 * most - 1))

    def _vectors(self, states: Tensor, mask: Tensor, hole: Tensor | None) -> Tensor:
        found = self.attention(states, mask)
        if self.config.pooling != "hole":
            return found
        assert hole is not None, "refused by check_pooling"
        return torch.cat([found, state_at(states, hole)], dim=-1)

    def _of_side(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pooled vector of one side of every pair, zero where the window shows nothing of that side."""
        return self.attention(states * mask, mask) * mask.amax(1)


AutoConfig.register(ConvConfig.model_type, ConvConfig)
AutoModelForSequenceClassification.register(ConvConfig, ConvForSequenceClassification)
