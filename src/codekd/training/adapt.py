"""Stage ``adapted``: a pretrained encoder after masked-language-model training on code (Devlin et al. 2019).

A random share of the tokens is masked and guessed from the others; all chosen tokens become the mask.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedModel

from codekd.data.batches import Batch, Encoded
from codekd.data.code import functions_by_part
from codekd.data.encode import special_tokens
from codekd.data.hashing import digest
from codekd.data.labels import UNLABELLED
from codekd.models.device import choose_device
from codekd.models.encoder import pretrained_encoder
from codekd.models.masked import MaskedHead, masked_loss
from codekd.models.positions import check_length
from codekd.models.teachers.base import Adaptation
from codekd.models.vocabulary import copy_tokenizer, read_vocabulary
from codekd.training.loop import fit
from codekd.training.masked import masked_accuracy
from codekd.training.step import Objective

if TYPE_CHECKING:
    from codekd.study.job import Job

VALID_FUNCTIONS = 500


def run(job: "Job", folder: Path) -> dict[str, Any]:
    """Train on functions of train packages, and write the encoder of the epoch that guesses best in valid packages.

    Raises:
        CodekdError: functions may be longer than the encoder can read.
    """
    settings = Adaptation.model_validate(job.spec["adaptation"])
    key = f"teachers.{job.coordinates[-1]}.adaptation.max_length"
    check_length(key, settings.max_length, job.parents["pretrained"] / "config.json")
    corpora = [path for role, path in job.parents.items() if role.startswith("corpus/")]
    functions = functions_by_part(corpora, job.spec["packages"])
    limits = {"train": settings.functions, "valid": VALID_FUNCTIONS}
    chosen = {part: sorted(functions[part]["code"], key=digest)[:limit] for part, limit in limits.items()}
    train, valid = (_encoded(code, job.parents["pretrained"], settings.max_length) for code in chosen.values())
    torch.manual_seed(settings.seed)
    model = _Masked(pretrained_encoder(job.parents["pretrained"], train.vocabulary))
    device = choose_device(model.encoder)
    head = MaskedHead(model.embeddings.shape[1], model.embeddings)

    def loss(output: SimpleNamespace, batch: Batch, _: nn.Module) -> Tensor:
        return masked_loss(output.hidden_states[-1], batch, head, model.embeddings)

    def accuracy() -> float:
        guess = partial(head, embeddings=model.embeddings)
        return masked_accuracy(model, guess, valid, device, settings.training.word_dropout)

    fitted = fit(
        model,
        Objective(loss, head),
        train,
        lambda: {"accuracy": accuracy()},
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


class _Masked(nn.Module):
    """Encoder with the interface of a model in the training loop."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = encoder.config
        self.set_attn_implementation = encoder.set_attn_implementation

    @property
    def embeddings(self) -> Tensor:
        """Embeddings of the tokens, ``(vocabulary, width)``."""
        return self.encoder.get_input_embeddings().weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> SimpleNamespace:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return SimpleNamespace(hidden_states=(states,))


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
