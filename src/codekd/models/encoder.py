"""Any transformers encoder with pooling and a classification head: the teachers and the RoBERTa students."""

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
    """The encoder's own configuration, nested, and what is added to it (``num_labels`` is inherited).

    Attributes:
        encoder: configuration of any encoder known to transformers (a mapping needs its ``model_type``).
        pooling: ``first``, ``mean``, ``max``, ``hole`` or ``pair``, see :func:`codekd.models.pooling.pool`.
        hole_token_id: id of ``__HOLE__``, None if the tokenizer has none.
        lexemes: settings of :class:`codekd.models.lexical.RunEmbedding`, which takes the place of the encoder's token
            embeddings; None where it reads tokens.
        sides_apart: whether rows 2i and 2i + 1 are the two sides of a pair.
        classifier_dropout: dropout probability in the head.
        reused_head: pooled width and width of another model whose head this one has, behind a projection.
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
    """Encoder, pooling, head."""

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
        """Pretrained weights from a local folder, a new head, rows for the tokens the tokenizer gained.

        The head has the encoder's ``dropout``, none where that is None.

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
        """The encoder's token embeddings."""
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the encoder's token embeddings."""
        self.encoder.set_input_embeddings(value)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> ClassifierOutput:
        """Logits of right-padded ``input_ids`` ``(batch, length)``, on request with all states."""
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
    """An encoder from a local folder, with rows for the tokens that its tokenizer gained.

    Only safetensors are read, no code of the folder is run and nothing is downloaded. ``dropout`` replaces all dropout
    probabilities of the encoder's configuration; None keeps them.

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
    # A saved model names no folder of the machine that made it.
    pretrained.config.name_or_path = ""
    known = pretrained.get_input_embeddings().num_embeddings
    if vocabulary.size > known:
        embeddings = pretrained.resize_token_embeddings(vocabulary.size, mean_resizing=False)
        # A new token stands for code to guess, as the mask does.
        embeddings.weight.data[known:] = embeddings.weight.data[vocabulary.mask_id]
    return pretrained


def _auto_class(config: PreTrainedConfig) -> Any:
    """What makes an encoder of a configuration; of an encoder with a decoder the encoder alone."""
    return AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel


def without_pooler(encoder: PreTrainedModel) -> PreTrainedModel:
    """The encoder less the pooler that BERT-like classes bring: the head does not read it."""
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    return encoder


AutoConfig.register(EncoderConfig.model_type, EncoderConfig)
AutoModelForSequenceClassification.register(EncoderConfig, EncoderForSequenceClassification)
