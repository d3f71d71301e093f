"""Signals of a language model that is prompted: logits over the classes, from scored words or sampled answers.

Shapes:
    prompts: examples of a batch, one question each.
    words: those that name the classes, in the classes' order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessor, LogitsProcessorList

from codekd.data.batches import Encoded, Rows, load_encoded, sorted_batches
from codekd.data.rows import Captured, Fixed
from codekd.data.splits import SPLITS
from codekd.errors import CodekdError
from codekd.models.device import Device, choose_device
from codekd.models.positions import read_positions
from codekd.models.vocabulary import first_of
from codekd.signals.base import Signal

if TYPE_CHECKING:
    from codekd.study.job import Job

BATCH_SIZE = 16
BATCH_TOKENS = 8192

Scores = NDArray[np.float32]
Ids = list[int]


@dataclass(frozen=True)
class Teacher:
    """Causal language model, its question, and where it runs.

    ``template`` alternates token ids with the numbers of the pieces of code that come between them; ``words`` name the
    classes, and ``answers`` are their token ids.
    """

    model: Any
    tokenizer: Any
    device: Device
    encoded: Path
    question: dict[str, Any]
    template: tuple[Ids | int, ...]
    words: tuple[str, ...]
    answers: list[Ids]

    @classmethod
    def load(cls, jobs: "Sequence[Job]") -> "Teacher":
        """Load the one model of some jobs; parents are ``pretrained`` and ``encoded``.

        Raises:
            CodekdError: the words are not one for each class, or the model cannot tell them apart; the prompt is for
                another number of pieces of code, or too long with them; or the folder holds no causal model.
        """
        [job] = jobs
        folder, question = job.parents["pretrained"], job.spec["question"]
        words = tuple(question["words"] or job.spec["classes"])
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        answers = [tokenizer.encode(word, add_special_tokens=False) for word in words]
        template = _template(question["prompt"], job.spec["columns"], tokenizer)
        _check_words(words, answers, job.spec["classes"], question["answers"])
        longest = question["new_tokens"] if question["answers"] == "sample" else max(map(len, answers))
        _check_length(job, sum(len(part) for part in template if isinstance(part, list)) + longest - 1)
        try:
            model = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError) as error:
            raise CodekdError(f"no causal language model can be read from {folder}: {error}") from None
        device = _device(model)
        model.to(device.device, device.dtype).eval()
        return cls(model, tokenizer, device, job.parents["encoded"], question, template, words, answers)

    def describe(self, signal: Signal) -> dict[str, str]:
        """Device and precision for the manifest."""
        return self.device.describe()

    def signals(
        self, wanted: Sequence[Any], split: str, shard: int, rows: Rows | None = None
    ) -> tuple[Encoded, list[Captured]]:
        """Ask about a shard or some of its rows: the shard, and logits ``(rows, classes)`` float32."""
        data = load_encoded(self.encoded, [split], shard)
        rows = np.arange(len(data)) if rows is None else rows
        answer = self._scores if self.question["answers"] == "score" else self._counts
        logits = np.empty((len(rows), len(self.words)), dtype=np.float32)
        for chosen in sorted_batches(data.lengths[rows], BATCH_SIZE, BATCH_TOKENS):
            prompts = [self._prompt(data, row) for row in rows[chosen]]
            logits[chosen] = answer(prompts, [data.ids[row] for row in rows[chosen]])
        return data, [Fixed(logits) for _ in wanted]

    def _prompt(self, data: Encoded, row: int) -> Ids:
        tokens = data.tokens[data.offsets[row] : data.offsets[row + 1]]
        pieces = np.split(tokens, [data.second_start[row]])
        return [token for part in self.template for token in (pieces[part] if isinstance(part, int) else part)]

    @torch.inference_mode()
    def _scores(self, prompts: list[Ids], ids: Sequence[str]) -> Scores:
        """Log-probabilities of the words, ``(prompts, words)``; a prompt is read once, not once a word."""
        words = self.answers
        input_ids, mask = self._left_padded(prompts)
        read = self.model(input_ids=input_ids, attention_mask=mask, position_ids=_positions(mask), use_cache=True)
        first = read.logits[:, -1].float().log_softmax(-1)
        scores = torch.stack([first[:, word[0]] for word in words], dim=1)
        if longest := max(map(len, words)) - 1:
            # Every word continues a copy of the prompt's cache; its last token need not be read, nothing follows it.
            cache = read.past_key_values
            cache.batch_repeat_interleave(len(words))
            padded = torch.tensor([word[:-1] + [0] * (longest + 1 - len(word)) for word in words], device=mask.device)
            given = padded.repeat(len(prompts), 1)
            mask = torch.cat([mask.repeat_interleave(len(words), 0), torch.ones_like(given)], dim=1)
            more = self.model(
                input_ids=given,
                attention_mask=mask,
                position_ids=_positions(mask)[:, -longest:],
                past_key_values=cache,
            )
            found = more.logits.float().log_softmax(-1).unflatten(0, scores.shape)
            for index, word in enumerate(words):
                for place, token in enumerate(word[1:]):
                    scores[:, index] += found[:, index, place, token]
        return scores.cpu().numpy()

    @torch.inference_mode()
    def _counts(self, prompts: list[Ids], ids: Sequence[str]) -> Scores:
        """Logarithms of the smoothed shares of the words among sampled answers, ``(prompts, words)``.

        What is sampled for an example depends on its id alone, and not on its batch.
        """
        count = self.question["samples"]
        input_ids, mask = self._left_padded([prompt for prompt in prompts for _ in range(count)])
        generators = [np.random.default_rng([number, *map(ord, name)]) for name in ids for number in range(count)]
        texts = self.model.generate(
            input_ids=input_ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=self.question["new_tokens"],
            pad_token_id=self._padding,
            logits_processor=LogitsProcessorList([_Sampling(generators, self.question["temperature"])]),
        )
        answers = self.tokenizer.batch_decode(texts[:, input_ids.shape[1] :], skip_special_tokens=True)
        votes = np.full((len(prompts), len(self.words)), self.question["smoothing"], dtype=np.float32)
        for index, answer in enumerate(answers):
            if (word := named(answer, self.words)) is not None:
                votes[index // count, word] += 1
        return np.log(votes / votes.sum(1, keepdims=True))

    def _left_padded(self, prompts: list[Ids]) -> tuple[Tensor, Tensor]:
        longest = max(map(len, prompts))
        ids = [[self._padding] * (longest - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        return torch.tensor(ids, device=self.device.device), torch.tensor(mask, device=self.device.device)

    @property
    def _padding(self) -> int:
        """Id of a token to pad with, which nothing attends to."""
        return first_of(self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)


class _Sampling(LogitsProcessor):
    """Turns the greedy choice into sampling: the largest of logits with Gumbel noise has the model's distribution."""

    def __init__(self, generators: Sequence[np.random.Generator], temperature: float) -> None:
        self._generators = generators
        self._temperature = temperature

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        noise = np.stack([generator.gumbel(size=scores.shape[-1]) for generator in self._generators])
        return scores / self._temperature + torch.from_numpy(noise).to(scores)


def named(answer: str, words: Sequence[str]) -> int | None:
    """Index of the word that an answer names first, or None; case is ignored.

    Of several that begin at one place it is the longest.
    """
    text = answer.casefold()
    looked_for = [word.strip().casefold() for word in words]
    found = [(text.find(word), -len(word), number) for number, word in enumerate(looked_for)]
    return min(((place, length, number) for place, length, number in found if place >= 0), default=(0, 0, None))[2]


def _check_words(words: Sequence[str], answers: Sequence[Ids], classes: Sequence[str], how: str) -> None:
    """Refuse words that are not one for each class, or of which one could never be the answer."""
    said = {word.strip().casefold() if how == "sample" else word for word in words}
    if len(said) != len(classes) or len(words) != len(classes):
        raise CodekdError(
            f"the teacher's `words` must be {len(classes)} different ones, one for each of {', '.join(classes)}; "
            f"they are {', '.join(words)}"
        )
    if how == "sample":
        return
    for (word, begin), (other, tokens) in permutations(zip(words, answers, strict=True), 2):
        if tokens[: len(begin)] == begin:
            raise CodekdError(
                f"of the teacher's `words`, the tokens of {word!r} begin those of {other!r}, so that the model can "
                f"never find the latter more likely: write `words:` of which none begins with another, such as "
                f'[" no", " yes"], or `answers: sample`'
            )


def _check_length(job: "Job", more: int) -> None:
    """Refuse questions that are longer, by so many tokens ``more`` than the code has, than the model can read."""
    limit = read_positions(job.parents["pretrained"] / "config.json")
    tables = (pq.read_table(job.parents["encoded"] / f"{split}.parquet", columns=["length"]) for split in SPLITS)
    longest = max((max(table["length"].to_pylist(), default=0) for table in tables), default=0)
    if limit is None or longest + more <= limit:
        return
    room = limit - more
    shorter = f"`max_length: {room}` or a shorter `prompt`" if room > 0 else "a shorter `prompt`"
    raise CodekdError(
        f"teachers.{job.coordinates[1]}: the longest question has {longest} tokens of code and {more} of the prompt "
        f"and the answer, but the model reads {limit} tokens: write {shorter}."
    )


def _positions(mask: Tensor) -> Tensor:
    return (mask.cumsum(1) - 1).clamp(min=0)


def _device(model: Any) -> Device:
    """Device of a model: on a CPU in float32, whatever it has."""
    device = choose_device(model)
    return replace(device, dtype=torch.float32) if device.device.type == "cpu" else device


def _template(prompt: str, columns: Sequence[str], tokenizer: Any) -> tuple[Ids | int, ...]:
    """Token ids of the text around the code, and between them the numbers of the pieces of code."""
    parts: list[Ids | int] = [] if tokenizer.bos_token_id is None else [[tokenizer.bos_token_id]]
    for text, name, _, _ in Formatter().parse(prompt):
        parts.append(tokenizer.encode(text, add_special_tokens=False))
        if name is not None:
            if name not in columns:
                raise CodekdError(f"the teacher's `prompt` has {{{name}}}; the task's code is {', '.join(columns)}")
            parts.append(list(columns).index(name))
    return tuple(parts)
