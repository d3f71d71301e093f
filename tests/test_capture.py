"""From a teacher's relations in the cache to a student with another tokenizer: the loss is that of the live states."""

from dataclasses import replace
from pathlib import Path

import naive_losses
import numpy as np
import polars as pl
import pytest
import torch
from data_stages import run_stage

from codekd.data.batches import load_encoded, load_units
from codekd.data.functions import functions_of
from codekd.methods import ckd
from codekd.models.architectures.roberta import Config as RoBERTa
from codekd.signals.format import SHARD_ROWS, read_signal

SOURCES = Path(__file__).parents[1] / "src" / "codekd" / "data"
CPU = torch.device("cpu")
TEACHER = RoBERTa(kind="roberta", vocabulary_size=500, max_length=96, layers=4, hidden=48, heads=4)
STUDENT = RoBERTa(kind="roberta", vocabulary_size=320, max_length=64, layers=2, hidden=32, heads=4)
SPLITS = ("train", "valid", "test", "unlabeled")


def write_examples(folder, columns):
    """Functions of this project; the training split fills more than one shard."""
    code = [function.code for path in sorted(SOURCES.glob("*.py")) for function in functions_of(path.read_text())]
    folder.mkdir()
    for split in SPLITS:
        count = SHARD_ROWS + 3 if split == "train" else 5
        rows = [[code[(row * 7 + 3 * piece) % len(code)] for row in range(count)] for piece in range(len(columns))]
        frame = pl.DataFrame(dict(zip(columns, rows, strict=True))).with_columns(
            id=pl.int_range(count).cast(pl.String) + split,
            label=pl.lit(-1 if split == "unlabeled" else 1, dtype=pl.Int32),
            group=pl.lit("g"),
        )
        frame.write_parquet(folder / f"{split}.parquet")
    return folder


def stage(folder, name, architecture, columns, examples):
    """Tokenizer, sequences and an untrained model of one architecture."""
    size = architecture.vocabulary_size
    bpe = {"size": size, "columns": {"t": columns}}
    run_stage("codekd.data.bpe", folder / f"{name}-tokenizer", bpe, {"examples/t": examples})
    spec = {
        "max_length": architecture.max_length,
        "classes": ["no", "yes"],
        "columns": columns,
        "has_hole": False,
    }
    parents = {"examples": examples, "tokenizer": folder / f"{name}-tokenizer"}
    run_stage("codekd.data.encode", folder / f"{name}-encoded", spec, parents)
    torch.manual_seed(size)
    vocabulary = load_encoded(folder / f"{name}-encoded", ["valid"]).vocabulary
    model = architecture.build(vocabulary, 2, "mean" if len(columns) == 1 else "pair")
    with torch.no_grad():
        for weight in model.parameters():
            # Small random weights make layers so alike that their distances are rounding.
            weight.mul_(10 if weight.dim() > 1 else 1)
    model.save_pretrained(folder / f"{name}-model")
    return model.eval()


@pytest.fixture(scope="module", params=[("code",), ("code_a", "code_b")], ids=["code", "pair"])
def made(request, tmp_path_factory):
    folder, columns = tmp_path_factory.mktemp("capture"), list(request.param)
    examples = write_examples(folder / "examples", columns)
    models = [stage(folder, *side, columns, examples) for side in (("teacher", TEACHER), ("student", STUDENT))]
    run_stage(
        "codekd.data.lexemes", folder / "syntax", {"columns": columns, "language": "python"}, {"examples": examples}
    )
    return folder, models


@pytest.mark.parametrize("units", ["lexeme", "token"])
def test_the_loss_from_the_cache_is_that_of_live_states(made, units):
    folder, (teacher, student) = made
    method = ckd.Config(units=units, window=3)
    _, request = method.requests(layers=2)
    syntax = {"syntax": folder / "syntax"} if request.by_lexeme else {}
    parents = {"teacher": folder / "teacher-model", "encoded": folder / "teacher-encoded", **syntax}
    run_stage("codekd.signals.capture", folder / request.name, {"signal": request.model_dump()}, parents)

    sides = []
    for name in ("teacher", "student"):
        data = load_encoded(folder / f"{name}-encoded", SPLITS)
        sides.append(replace(data, units=load_units(data, folder / f"{name}-encoded", SPLITS, syntax.get("syntax"))))
    live, here = sides
    signal = read_signal(folder / request.name, SPLITS, "relations", here.ids)
    here = replace(here, units=here.units.within(signal.first.ravel(), signal.count.ravel()))
    here = replace(here, signals={"relations": signal})
    live = replace(live, units=live.units.within(here.units.first, here.units.count))
    assert live.ids == here.ids

    rows = np.array([1, SHARD_ROWS + 1, 5, len(here) - 1])
    states, present = [], True
    for data, model in ((live, teacher), (here, student)):
        batch = data.batch(rows, CPU)
        with torch.inference_mode():
            outputs = model(batch.input_ids, batch.attention_mask, batch.token_type_ids, output_hidden_states=True)
        layers = outputs.hidden_states[2::2] if model is teacher else outputs.hidden_states[1:]
        states.append(np.stack([batch.units.states(hidden).double().numpy() for hidden in layers]))
        present = present & batch.units.mask.numpy()
    assert present.sum() > 40
    expected = naive_losses.ckd(states[1], states[0], present, window=3)
    assert [loss.item() for loss in method.relation_losses(outputs, batch)] == pytest.approx(expected, rel=1e-3)
