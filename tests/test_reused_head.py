"""A student that answers with its teacher's classification head, from the stage that trains it to the saved model."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from data_stages import run_signals, run_stage
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from codekd.data.batches import load_encoded
from codekd.deploy.runtimes import torch_comparison
from codekd.models.architectures.base import Lexemes
from codekd.models.architectures.bigru import Config as BiGRU
from codekd.models.architectures.conv import Config as Conv
from codekd.models.architectures.roberta import Config as RoBERTa
from codekd.models.head import reuse_head
from codekd.models.vocabulary import Vocabulary
from codekd.signals import pooled

SIZES = {"vocabulary_size": 320, "max_length": 48}
TEACHER = RoBERTa(kind="roberta", layers=2, hidden=24, heads=2, **SIZES)
ROBERTA = RoBERTa(kind="roberta", layers=1, hidden=16, heads=2, dropout=0.1, **SIZES)
BIGRU = BiGRU(kind="bigru", layers=1, hidden=10, dropout=0.1, **SIZES)
CONV = Conv(kind="conv", layers=1, hidden=12, dropout=0.1, head_width=9, lexemes=Lexemes(buckets=300, width=12))
VOCABULARY = Vocabulary(size=320, pad_id=1, mask_id=2, hole_id=3)
TRAINING = {"epochs": 3, "learning_rate": 1e-2, "weight_decay": 0.1}
FAMILIES = [(ROBERTA, "first"), (ROBERTA, "pair"), (BIGRU, "final"), (BIGRU, "pair")]


def build(architecture, pooling, vocabulary=VOCABULARY, classes=5):
    torch.manual_seed(0)
    return architecture.build(vocabulary, classes, pooling)


def student_of(folder, architecture, pooling, teacher_pooling="mean"):
    """An untrained student with the head of an untrained teacher."""
    build(TEACHER, teacher_pooling).save_pretrained(folder)
    model = build(architecture, pooling)
    reuse_head(model, folder)
    return model.eval()


def batch(padding=0):
    ids = torch.randint(5, 320, (3, 9), generator=torch.Generator().manual_seed(2))
    mask = (torch.arange(9) < torch.tensor([[9], [6], [4]])).long()
    pad = torch.nn.functional.pad
    sides = mask * (torch.arange(9) >= 3)
    return tuple(pad(values, (0, padding)) for values in (ids.masked_fill(mask == 0, 1), mask, sides))


@pytest.mark.parametrize("teacher_pooling", ["mean", "pair"])
@pytest.mark.parametrize(("architecture", "pooling"), FAMILIES)
def test_a_saved_student_is_the_same_when_loaded(architecture, pooling, teacher_pooling, tmp_path):
    model = student_of(tmp_path / "teacher", architecture, pooling, teacher_pooling)
    outputs = model(*batch(), output_hidden_states=True)
    assert outputs.features.shape == (3, 48 if teacher_pooling == "pair" else 24)
    assert torch.equal(model.head(model.projector(outputs.pooled[-1])), outputs.logits)
    torch.testing.assert_close(model(*batch(padding=4)).logits, outputs.logits, rtol=0, atol=1e-6)

    model.save_pretrained(tmp_path / "student")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student", local_files_only=True)
    assert torch.equal(loaded(*batch()).logits, outputs.logits)
    assert loaded.num_parameters() == model.num_parameters()


@pytest.mark.parametrize(("architecture", "pooling"), FAMILIES)
def test_a_reused_head_is_frozen_and_changes_no_other_weight(architecture, pooling, tmp_path):
    model, plain = student_of(tmp_path, architecture, pooling), build(architecture, pooling).state_dict()
    model(*batch()).logits.sum().backward()
    assert {name for name, weight in model.named_parameters() if weight.grad is None} == {
        f"head.{name}" for name, _ in model.head.named_parameters()
    }
    weights = model.state_dict()
    assert all(torch.equal(weights[name], plain[name]) for name in plain if not name.startswith("head."))


@pytest.fixture(scope="module", params=[("code",), ("code_a", "code_b")], ids=["code", "pair"])
def made(request, tmp_path_factory):
    """Encoded examples, a teacher and its pooled states, and how the teacher pools."""
    folder, columns = tmp_path_factory.mktemp("simkd"), list(request.param)
    (folder / "examples").mkdir()
    for split in ("train", "valid", "test", "unlabeled"):
        count = 60 if split == "train" else 12
        code = [f"def f{row}(x):\n    return x {'+*'[row % 2]} {row}\n" for row in range(count)]
        labels = [-1 if split == "unlabeled" else row % 2 for row in range(count)]
        rows = {"id": [f"{split}{row}" for row in range(count)], "label": labels, "group": ["g"] * count}
        rows |= dict(zip(columns, (code, code[::-1]), strict=False))
        pl.DataFrame(rows, schema_overrides={"label": pl.Int32}).write_parquet(folder / "examples" / f"{split}.parquet")
    examples = {"examples": folder / "examples"}
    bpe = {"size": 320, "columns": {"t": columns}}
    run_stage("codekd.data.bpe", folder / "tokenizer", bpe, {"examples/t": folder / "examples"})
    spec = {"max_length": 48, "prefix": [], "classes": ["no", "yes"], "columns": columns, "has_hole": False}
    run_stage("codekd.data.encode", folder / "encoded", spec, examples | {"tokenizer": folder / "tokenizer"})

    pooling = "mean" if len(columns) == 1 else "pair"
    vocabulary = load_encoded(folder / "encoded", ["valid"]).vocabulary
    build(TEACHER, pooling, vocabulary, classes=2).save_pretrained(folder / "model")
    parents = {"encoded": folder / "encoded", "teacher": folder / "model"}
    run_signals("codekd.signals.capture", {folder / "pooled": pooled.Config()}, parents)
    del spec["prefix"]
    run_stage("codekd.data.encode_lexemes", folder / "lexed", spec | {"language": "python"}, examples)
    return parents | {"signals/pooled": folder / "pooled"}, pooling


@pytest.mark.parametrize("architecture", [ROBERTA, BIGRU, CONV], ids=["roberta", "bigru", "lexical conv"])
def test_training_leaves_the_reused_head_as_it_is(made, architecture, tmp_path):
    parents, pooling = made
    if architecture.lexemes:
        parents = parents | {"encoded": parents["encoded"].with_name("lexed")}
    spec = {
        "method": {"kind": "simkd"},
        "architecture": architecture.settings(),
        "classes": 2,
        "metric": "accuracy",
        "pooling": pooling,
        "training": TRAINING,
        "seed": 1,
    }
    folder = tmp_path / "student"
    (tmp_path / "scratch" / "student").mkdir(parents=True)
    run_stage("codekd.training.student", folder, spec, parents)

    weights, teacher = load_file(folder / "model.safetensors"), load_file(parents["teacher"] / "model.safetensors")
    head = [name for name in teacher if name.startswith("head.")]
    assert len(head) == 4
    assert all(torch.equal(weights[name], teacher[name]) for name in head)
    losses = pl.read_parquet(folder / "history.parquet")["loss"].to_list()
    assert losses[-1] < 0.8 * losses[0]

    model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)
    assert json.loads((folder / "metrics.json").read_text())["parameters"] == sum(map(torch.numel, weights.values()))
    test = load_encoded(parents["encoded"], ["test"])
    whole = test.inputs(np.arange(len(test)))
    logits = model(*map(torch.from_numpy, whole)).logits
    written = pl.read_parquet(folder / "predictions.parquet")["logits"].to_list()
    torch.testing.assert_close(logits, torch.tensor(written), rtol=0, atol=2e-2)  # trained in half precision
    assert (folder / "lexer.json").exists() == bool(architecture.lexemes)
    if pooling == "pair" and (halves := torch_comparison(model)):
        vectors = halves.vectors(whole)
        found = halves.compare(vectors[[0]], vectors[1::2])
        np.testing.assert_allclose(found[0], logits[0].detach(), atol=1e-4)
