"""Stage ``adapted``: a pretrained encoder after masked-language-model training on code (Devlin et al. 2019).

A random share of the tokens is masked and guessed from the others; all chosen tokens become the mask.
"""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, PreTrainedModel

from codekd.data.batches import Batch, Encoded, sorted_batches
from codekd.data.encode import special_tokens
from codekd.data.hashing import digest
from codekd.data.labels import UNLABELLED
from codekd.errors import NotFiniteError
from codekd.models.device import Device, choose_device
from codekd.models.encoder import pretrained_encoder
from codekd.models.inference import BATCH_SIZE, BATCH_TOKENS
from codekd.models.positions import check_length
from codekd.models.teachers.base import Adaptation
from codekd.models.vocabulary import copy_tokenizer, read_vocabulary
from codekd.training.loop import fit
from codekd.training.step import Objective, drop_words

if TYPE_CHECKING:
    from codekd.study.job import Job

VALID_FUNCTIONS = 500
READ = {"train": ("train", "transfer"), "valid": ("valid",)}


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Train on functions of train packages, keep the epoch that guesses best in valid packages, write the encoder.

    Raises:
        CodekdError: functions may be longer than the encoder can read.
    """
    settings = Adaptation.model_validate(job.spec["adaptation"])
    key = f"teachers.{job.coordinates[-1]}.adaptation.max_length"
    check_length(key, settings.max_length, job.parents["pretrained"] / "config.json")
    functions = _functions(job)
    limits = {"train": settings.functions, "valid": VALID_FUNCTIONS}
    chosen = {part: sorted(functions[part], key=digest)[:limit] for part, limit in limits.items()}
    train, valid = (_encoded(code, job.parents["pretrained"], settings.max_length) for code in chosen.values())
    torch.manual_seed(settings.seed)
    model = _Masked(pretrained_encoder(job.parents["pretrained"], train.vocabulary))
    device = choose_device(model.encoder)
    head = _Head(model.encoder)

    def loss(output: SimpleNamespace, batch: Batch, _: nn.Module) -> Tensor:
        hidden = _hidden(batch)
        found = head(output.states[hidden], model.embeddings)
        total = cross_entropy(found.float(), batch.input_ids[hidden], reduction="sum")
        return total / hidden.sum().clamp(min=1) * batch.share(lambda one: _hidden(one).sum())

    fitted = fit(
        model,
        Objective(loss, head),
        train,
        lambda: {"accuracy": _accuracy(model, head, valid, device, settings.training.word_dropout)},
        settings.training,
        seed=settings.seed,
        metric="accuracy",
        device=device,
        scratch=job.scratch,
        name=job.name,
    )
    model.load_state_dict(fitted.best)
    model.encoder.cpu().save_pretrained(folder)
    copy_tokenizer(job.parents["pretrained"], folder)
    pl.DataFrame(fitted.history).write_parquet(folder / "history.parquet")
    return {"functions": len(train), "vocabulary": train.vocabulary.size, "best_epoch": fitted.best_epoch} | {
        "valid_accuracy": fitted.history[fitted.best_epoch - 1]["valid_accuracy"],
        **device.describe(),
    }


def _hidden(batch: Batch) -> Tensor:
    """Which tokens ``(batch, length)`` are to be guessed."""
    return batch.shown != batch.input_ids


class _Masked(nn.Module):
    """An encoder as the training loop calls a model."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = encoder.config
        self.set_attn_implementation = encoder.set_attn_implementation

    @property
    def embeddings(self) -> Tensor:
        """Of the tokens, ``(vocabulary, width)``."""
        return self.encoder.get_input_embeddings().weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> SimpleNamespace:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return SimpleNamespace(states=states)


class _Head(nn.Module):
    """BERT's: dense, GELU, normalisation, then the token embeddings as the last layer, with a bias."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        width = encoder.config.hidden_size
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(encoder.get_input_embeddings().num_embeddings))

    def forward(self, states: Tensor, embeddings: Tensor) -> Tensor:
        """Logits ``(tokens, vocabulary)`` of states ``(tokens, width)``."""
        return self.transform(states.float()) @ embeddings.T + self.bias


@torch.inference_mode()
def _accuracy(model: _Masked, head: _Head, valid: Encoded, device: Device, share: float) -> float:
    """Share of masked tokens that are guessed; the same ones are masked every time.

    Raises:
        NotFiniteError: the logits are not finite.
    """
    model.eval()
    right = count = 0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for rows in sorted_batches(valid.lengths, BATCH_SIZE, BATCH_TOKENS):
            batch = valid.batch(rows, device.device)
            shown = drop_words(batch, share, valid.vocabulary)
            with device.autocast():
                output = model(shown, batch.attention_mask)
            hidden = shown != batch.input_ids
            logits, found = head(output.states[hidden], model.embeddings).max(-1)
            if not logits.isfinite().all():
                raise NotFiniteError("what the model guesses masked tokens by is not finite")
            right += int((found == batch.input_ids[hidden]).sum())
            count += int(hidden.sum())
    return right / max(count, 1)


def _functions(job: "Job") -> dict[str, pl.Series]:
    """The different functions of the packages of each part."""
    frames = [
        pl.read_parquet(folder / "functions.parquet", columns=["package", "code"])
        for role, folder in job.parents.items()
        if role.startswith("corpus/")
    ]
    functions, packages = pl.concat(frames), job.spec["packages"]
    return {
        part: functions.filter(pl.col("package").is_in([name for name, where in packages.items() if where in read]))[
            "code"
        ].unique()
        for part, read in READ.items()
    }


def _encoded(functions: Sequence[str], folder: Path, max_length: int) -> Encoded:
    """Functions as sequences of the tokenizer in a folder, cut at the end."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    before, after = special_tokens(tokenizer)
    room = max_length - len(before) - len(after)
    backend = tokenizer.backend_tokenizer
    sequences = [[*before, *backend.encode(one, add_special_tokens=False).ids[:room], *after] for one in functions]
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    return Encoded(
        ids=[str(number) for number in range(len(sequences))],
        labels=np.full(len(sequences), UNLABELLED),
        tokens=np.array([token for sequence in sequences for token in sequence], dtype=np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        second_start=lengths.astype(np.int32),
        vocabulary=read_vocabulary(folder),
        signals={},
    )
