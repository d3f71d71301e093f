"""Convolutions and attention over embeddings, attention pooling, a classification head: small, and fast on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from codekd.models.head import ClassifierOutput, classifier
from codekd.models.lexical import SCALE, token_embedding
from codekd.models.pooling import by_example, check_pooling, compared, first_hole, pool, row_pooling, state_at

POOLINGS = ("mean", "max", "hole", "pair")


class ConvConfig(PreTrainedConfig):
    """Sizes of the network (``num_labels`` is inherited).

    Attributes:
        lexemes: settings of :class:`codekd.models.lexical.RunEmbedding`, None where it reads tokens.
        vocab_size: number of token ids where it reads tokens.
        pad_token_id: id of the padding token.
        hidden_size: width of all states.
        num_hidden_layers: number of blocks.
        num_attention_layers: how many of them, the last ones, are of self-attention and not of a convolution.
        kernel_size: positions that a convolution sees, an odd number.
        intermediate_size: width inside a block.
        attention_heads: of the self-attention and of the pooling.
        head_size: width of the hidden layer of the head.
        max_positions: positions before and after the hole, or from the beginning on, that are told apart.
        dropout: dropout probability after the embedding and in the head.
        pooling: what hints are about, see :func:`codekd.models.pooling.pool`; ``hole`` adds the state there to what is
            classified.
        hole_token_id: id of ``__HOLE__``, None if there is none.
        sides_apart: whether rows 2i and 2i + 1 are the two sides of a pair.
        reused_head: pooled width and width of another model whose head this one has, behind a projection.
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
    """A layer, whose kinds differ in what a position sees of others; ``within`` is a small perceptron at every one."""

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
    """A depthwise convolution and a small perceptron, added to what came in."""

    def __init__(self, config: ConvConfig) -> None:
        super().__init__(config)
        width, kernel = config.hidden_size, config.kernel_size
        # In two dimensions, of which one has size 1: a third of the time on CPUs, whose kernel for one dimension wants
        # states channel by channel.
        self.convolution = nn.Conv2d(width, width, (1, kernel), padding=(0, kernel // 2), groups=width)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States ``(rows, length, width)`` of such states, zero where ``mask`` ``(rows, length, 1)`` is."""
        seen = self.convolution(states.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)
        return (states + self.within(seen)) * mask


class AttentionBlock(Block):
    """Self-attention of several heads and a small perceptron, each normalised first and added to what came in."""

    def __init__(self, config: ConvConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.heads = config.attention_heads
        self.norm = nn.LayerNorm(width)
        self.inputs = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States ``(rows, length, width)`` of such states, zero where ``mask`` ``(rows, length, 1)`` is."""
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
    """Means of the states with learned weights, one for each head, and their maximum."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.scores = nn.Linear(width, heads)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """``(rows, (heads + 1) width)`` of states ``(rows, length, width)``, which are zero where the mask is.

        ``mask`` ``(rows, length, 1)`` is not zero everywhere.
        """
        # Added to what is not to be seen: one operation each, where filling takes several.
        unseen = (1 - mask) * (torch.finfo(states.dtype).min / 2)
        weights = (self.scores(states) + unseen).softmax(1)
        means = (weights.transpose(1, 2).to(states.dtype) @ states).flatten(1)
        return torch.cat([means, (states + unseen).amax(1)], dim=-1)


class ConvForSequenceClassification(PreTrainedModel):
    """Embedding, embedding of places, blocks, attention pooling, head."""

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
        """Keep torch's own initialisation, and that of the embeddings."""

    def get_input_embeddings(self) -> nn.Module:
        """The embeddings of tokens or of lexemes."""
        return self.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the embeddings of tokens or of lexemes."""
        self.embedding = value

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> ClassifierOutput:
        """Logits of right-padded ``input_ids`` ``(rows, length)``; states are zero at padding.

        ``token_type_ids`` matter where both sides of a pair are one row. What :class:`ClassifierOutput` calls pooled is
        pooled without weights of its own: it is no input of the head.
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
        """The position of the first hole or, where a sequence has none, the first position: ``(rows,)``."""
        hole = self.config.hole_token_id
        return None if hole is None else first_hole(input_ids, hole)

    def _places(self, input_ids: Tensor, hole: Tensor | None) -> Tensor:
        """Embeddings of the places from the hole on, or from the beginning: ``(rows or 1, length, width)``."""
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
        """The vector of one side of pairs, zero where the window does not show it."""
        return self.attention(states * mask, mask) * mask.amax(1)


AutoConfig.register(ConvConfig.model_type, ConvConfig)
AutoModelForSequenceClassification.register(ConvConfig, ConvForSequenceClassification)
