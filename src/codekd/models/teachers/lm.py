"""Language model that is prompted, not trained: a causal model in a folder of one's own or on the hub.

It gives logits alone: those of the words that name the classes (``answers: score``) or, as one would of a model that
emits only text, counts of the classes named in several answers (``answers: sample``).
"""

from string import Formatter
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from codekd.models.teachers import checkpoint

FIELDS = ({"code"}, {"code_a", "code_b"})


class Config(checkpoint.Config):
    """A causal language model, and the question that it is asked about every example."""

    signals: ClassVar[tuple[str, ...] | None] = ("logits",)
    by: ClassVar[str] = "prompted"
    trained: ClassVar[bool] = False

    kind: Literal["lm"] = "lm"  # type: ignore[assignment]
    prompt: str = Field(description="The question, with {code}, or with {code_a} and {code_b}; the answer follows it.")
    words: tuple[str, ...] | None = Field(
        None,
        description="What names each class in an answer, in the order of the classes; by default their names. Where "
        "they are scored, the tokens of none may begin another's: the shorter would always be the more likely.",
    )
    answers: Literal["score", "sample"] = Field(
        "score", description="Whether the words' log-probabilities are the logits, or sampled answers are counted."
    )
    samples: int = Field(10, ge=1, description="How many answers are sampled.")
    temperature: float = Field(1.0, gt=0, description="Of the sampling.")
    new_tokens: int = Field(8, ge=1, description="Longest sampled answer in tokens.")
    smoothing: float = Field(0.5, gt=0, description="Answers that every class has before any is counted.")

    @model_validator(mode="after")
    def _question_and_answers(self) -> Self:
        try:
            parsed = list(Formatter().parse(self.prompt))
        except ValueError as error:
            raise ValueError(f"`prompt`: {error}; write {{{{ and }}}} for braces") from None
        fields = [f"{name}{form}{conversion or ''}" for _, name, form, conversion in parsed if name is not None]
        if set(fields) not in FIELDS or len(fields) != len(set(fields)):
            raise ValueError("`prompt` needs {code} once, or {code_a} and {code_b}; write {{ and }} for braces")
        if self.words and not all(word.strip() for word in self.words):
            raise ValueError("`words` must not be blank")
        return self

    def question(self) -> dict[str, Any]:
        """Settings that determine the answers, beside the model, for the identity."""
        used = {"prompt", "words", "answers"}
        if self.answers == "sample":
            used |= {"samples", "temperature", "new_tokens", "smoothing"}
        return self.model_dump(mode="json", include=used)


obtain = checkpoint.obtain
