"""Classifier on any transformers encoder, with pooling and a head: the teachers and the RoBERTa students."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor, float32, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTextEncoding,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

from codekd.errors import CodekdError
from codekd.models.head import ClassifierOutput, classifier
from codekd.models.lexical import RunEmbedding
from codekd.models.pooling import by_example, check_pooling, pool, pooled_width, row_pooling
from codekd.models.vocabulary import Vocabulary

POOLINGS = ("first", "mean", "max", "hole", "pair")


class EncoderConfig(PreTrainedConfig):
    """Configuration of an encoder classifier: the encoder's own, nested, and settings of pooling and head.

    ``num_labels`` is inherited.

    Attributes:
        encoder: configuration of any encoder known to transformers (a mapping needs its ``model_type``).
        pooling: ``first``, ``mean``, ``max``, ``hole`` or ``pair``, see :func:`codekd.models.pooling.pool`.
        hole_token_id: id of ``__HOLE__``, None if the tokenizer has none.
        lexemes: arguments of :class:`codekd.models.lexical.RunEmbedding`, which replaces the encoder's token
            embeddings; None for a model that reads tokens.
        sides_apart: whether rows 2i and 2i + 1 are the two sides of pair i.
        classifier_dropout: dropout probability in the head.
        reused_head: input width and hidden width of a head that is taken from another model and reads a projection of
            the pooled states; None for a head of its own.
    """

    model_type = "codekd-encoder"
    sub_configs: ClassVar[dict[str, Any]] = {"encoder": AutoConfig}

    encoder: PreTrainedConfig = None
    pooling: str = "first"
    hole_token_id: int | None = None
    lexemes: dict[str, int] | None = None
    sides_apart: bool = False
    classifier_dropout: float = 0.0
    reused_head: list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Turn the nested mapping of a ``config.json`` into the encoder's configuration."""
        if isinstance(self.encoder, dict):
            self.encoder = AutoConfig.for_model(**self.encoder)
        super().__post_init__(**kwargs)


class EncoderForSequenceClassification(PreTrainedModel):
    """Encoder classifier: any transformers encoder, pooling, classification head."""

    config_class = EncoderConfig
    base_model_prefix = "encoder"
    _supports_sdpa = True

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        check_pooling(config.pooling, POOLINGS, config.hole_token_id)
        self.encoder = without_pooler(_auto_class(config.encoder).from_config(config.encoder))
        width = config.encoder.hidden_size
        if config.lexemes:
            self.encoder.set_input_embeddings(RunEmbedding(**config.lexemes, hidden=width))
        pooled = pooled_width(width, "pair" if config.sides_apart else config.pooling)
        self.projector, self.head = classifier(
            pooled, width, config.num_labels, config.classifier_dropout, config.reused_head
        )
        # RoBERTa and ModernBERT tell the sides of a pair by the separator alone.
        self._has_segments = getattr(config.encoder, "type_vocab_size", 0) > 1
        self.post_init()

    @classmethod
    def from_encoder(
        cls,
        folder: Path,
        num_labels: int,
        pooling: str,
        vocabulary: Vocabulary,
        dropout: float | None = None,
    ) -> Self:
        """Build a classifier on a pretrained encoder, with a new head.

        Args:
            folder: local Hugging Face folder of the encoder.
            num_labels: number of classes.
            pooling: see :class:`EncoderConfig`.
            vocabulary: that of the encoder's tokenizer; tokens that were added to it get an embedding.
            dropout: dropout probability of encoder and head; with None the encoder keeps its own and the head has none.

        Raises:
            CodekdError: see :func:`pretrained_encoder`.
        """
        pretrained = pretrained_encoder(folder, vocabulary, dropout)
        model = cls(
            EncoderConfig(
                encoder=pretrained.config,
                num_labels=num_labels,
                pooling=pooling,
                hole_token_id=vocabulary.hole_id,
                classifier_dropout=dropout or 0.0,
            )
        )
        model.encoder.load_state_dict(without_pooler(pretrained).state_dict())
        return model

    def get_input_embeddings(self) -> nn.Module:
        """Token embeddings of the encoder."""
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embeddings of the encoder."""
        self.encoder.set_input_embeddings(value)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> ClassifierOutput:
        """Classify rows of token ids.

        Args:
            input_ids: ``(rows, length)`` int64, padded on the right; two rows a pair where sides are apart.
            attention_mask: ``(rows, length)``, 1 at tokens and 0 at padding.
            token_type_ids: side of a pair, 0 or 1, of every token.
            output_hidden_states: whether the output has states and pooled states.
        """
        segments = {"token_type_ids": token_type_ids} if self._has_segments and token_type_ids is not None else {}
        outputs = self.encoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            output_hidden_states=output_hidden_states,
            **segments,
        )

        apart = self.config.sides_apart

        def vectors_of(states: Tensor) -> Tensor:
            how, hole = row_pooling(self.config.pooling, apart), self.config.hole_token_id
            return pool(states, input_ids, attention_mask, how, hole, token_type_ids)

        vectors = vectors_of(outputs.last_hidden_state)
        features = self.projector(by_example(vectors, apart))
        states = outputs.hidden_states if output_hidden_states else ()
        return ClassifierOutput(
            logits=self.head(features),
            hidden_states=tuple(states) or None,
            pooled=tuple(by_example(vectors_of(layer_states), apart) for layer_states in states) or None,
            features=features,
            vectors=vectors if apart else None,
        )


def pretrained_encoder(folder: Path, vocabulary: Vocabulary, dropout: float | None = None) -> PreTrainedModel:
    """Load an encoder from a local folder, with an embedding for each token that was added to its tokenizer.

    Only safetensors are read, no code of the folder is run and nothing is downloaded.

    Args:
        folder: Hugging Face folder of the encoder.
        vocabulary: that of its tokenizer.
        dropout: replaces all dropout probabilities of the encoder's configuration; None keeps them.

    Raises:
        CodekdError: the folder holds no such encoder, or one with another padding token.
    """
    try:
        settings = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        for name, value in settings.to_dict().items():
            if "dropout" in name and isinstance(value, float) and dropout is not None:
                setattr(settings, name, dropout)
        pretrained = _auto_class(settings).from_pretrained(
            folder,
            config=settings,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=float32,
        )
    except (OSError, ValueError) as error:
        raise CodekdError(f"no encoder in safetensors format can be read from {folder}: {error}") from error
    if pretrained.config.pad_token_id not in (None, vocabulary.pad_id):
        raise CodekdError(
            f"the encoder in {folder} pads with token {pretrained.config.pad_token_id}, "
            f"its tokenizer with {vocabulary.pad_id}: they must agree"
        )
    # Otherwise saved models would name a folder of the machine that made them.
    pretrained.config.name_or_path = ""
    known = pretrained.get_input_embeddings().num_embeddings
    if vocabulary.size > known:
        embeddings = pretrained.resize_token_embeddings(vocabulary.size, mean_resizing=False)
        # A new token, the hole, stands for code to guess, as the mask token does.
        embeddings.weight.data[known:] = embeddings.weight.data[vocabulary.mask_id]
    return pretrained


def _auto_class(config: PreTrainedConfig) -> Any:
    """Class that builds an encoder of a configuration; of an encoder with a decoder the encoder alone."""
    return AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel


def without_pooler(encoder: PreTrainedModel) -> PreTrainedModel:
    """Remove the pooler of BERT-like classes, which the head does not read, and return the encoder."""
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    return encoder


AutoConfig.register(EncoderConfig.model_type, EncoderConfig)
AutoModelForSequenceClassification.register(EncoderConfig, EncoderForSequenceClassification)
