"""Starts of students: weights that are made once, before any task, and that cells begin from."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from data_stages import SOURCES, job_of, run_signals, run_stage, write_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_checkpoints import WIDTH, modernbert, pretrained
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from codekd.data import bpe
from codekd.data.batches import Batch
from codekd.data.functions import functions_of
from codekd.data.windows import cut
from codekd.errors import CodekdError
from codekd.models.masked import MaskedHead, gain_for, masked_loss
from codekd.models.start import FILE, load_start
from codekd.models.vocabulary import read_vocabulary
from codekd.signals.base import parse
from codekd.signals.format import read_signal, write_shard
from codekd.starts.aligned import contrast, cosine_distance
from codekd.starts.embeddings import principal_components, token_states, zipf_weights
from codekd.study import components
from codekd.study.estimate import seconds
from codekd.study.graph import Graph, Node
from codekd.study.resolve import load_study
from codekd.study.sizes import signal_bytes
from codekd.training import start as stage

PACKAGES = {"docker": "train", "psutil": "transfer", "traitlets": "valid"}
ARCHITECTURES = {
    "roberta": {"kind": "roberta", "vocabulary_size": 400, "layers": 2, "hidden": 16, "heads": 2},
    "bigru": {"kind": "bigru", "vocabulary_size": 400, "layers": 2, "hidden": 12},
}
TRAINING = {"epochs": 3, "learning_rate": 3e-3, "word_dropout": 0.3, "batch_size": 16}
OF_TEST = "this_is_a_function_for_tests"
WINDOWS = {"windows": None, "characters": 160, "packages": PACKAGES}
PRETRAINED = {"by": "pretrained"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Windows of a corpus, a tokenizer, a small encoder, and what it gives of the windows."""
    folder = tmp_path_factory.mktemp("starts")
    torch.manual_seed(0)
    modernbert(folder / "modernbert")
    encoder = pretrained(folder / "modernbert", folder / "pretrained")
    code = [one.code for path in sorted(SOURCES.glob("*.py")) for one in functions_of(path.read_text())][:90]
    modules = {f"{[*PACKAGES][row % 3]}/m{row}.py": text for row, text in enumerate(code)}
    modules |= dict.fromkeys(("docker/both.py", "traitlets/both.py"), "def in_two_packages():\n    return 2\n")
    corpus = write_corpus(folder / "corpus", modules | {"redis/m.py": f"def {OF_TEST}():\n    return {OF_TEST!r}\n"})
    run_stage("codekd.data.windows", folder / "windows", WINDOWS, {"corpus/current": corpus})
    tokenizer = bpe.train(iter(code), 400)
    names = {"cls": bpe.CLS, "pad": bpe.PAD, "sep": bpe.SEP, "unk": bpe.UNK, "mask": bpe.MASK}
    tokens = {f"{name}_token": token for name, token in names.items()}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens).save_pretrained(folder / "tokenizer")
    made = {"corpus": corpus, "windows": folder / "windows", "tokenizer": folder / "tokenizer", "pretrained": encoder}
    spec = {"max_length": 128, "prefix": [], "classes": ["code"], "columns": ["code"], "has_hole": False}
    for name, by in (("encoded", "tokenizer"), ("teacher-128", "pretrained")):
        run_stage("codekd.data.encode", folder / name, spec, {"examples": made["windows"], "tokenizer": made[by]})
    syntax = {"columns": ["code"], "language": "python"}
    run_stage("codekd.data.lexemes", folder / "syntax", syntax, {"examples": made["windows"]})
    read = {"encoded": folder / "teacher-128", "pretrained": encoder, "syntax": folder / "syntax"}
    signals = {
        folder / "last": parse({"kind": "last"}),
        folder / "relations": parse({"kind": "relations", "layers": 2}),
    }
    run_signals("codekd.signals.capture", signals, read, PRETRAINED)
    return made | {name: folder / name for name in ("encoded", "teacher-128", "syntax", "last", "relations")}


def make(made: dict[str, Path], out: Path, architecture: str = "roberta", **start: Any) -> dict[str, Any]:
    """A start, with what its graph would give it."""
    settings = start if start["kind"] == "embeddings" else {"training": TRAINING, **start}
    spec = {"start": settings, "architecture": ARCHITECTURES[architecture], "prefix": []}
    parents = {name: made[name] for name in ("tokenizer", "encoded", "syntax", "pretrained")}
    parents |= {"signals/last": made["last"], "signals/relations": made["relations"]}
    (out.parent / "scratch" / out.name).mkdir(parents=True, exist_ok=True)
    return run_stage("codekd.training.start", out, spec, parents)


# Windows of code.


@settings(deadline=None)
@given(st.text("ab \n", max_size=120), st.integers(2, 12))
def test_windows_are_whole_lines_and_together_the_code(code: str, characters: int) -> None:
    windows = list(cut(code, characters))
    assert all(len(window) <= characters and window.strip() for window in windows)
    assert "".join("".join(windows).split()) == "".join(code.split()), "nothing but white space is left out"


def test_a_line_that_fits_is_not_cut() -> None:
    assert list(cut("aaaa\nbbbb\ncc", 9)) == ["aaaa\nbbbb", "cc"]
    assert list(cut("aaaa\nbbbb\ncc", 8)) == ["aaaa", "bbbb\ncc"]
    assert list(cut("aaaaaaaaaa\nb", 4)) == ["aaaa", "aaaa", "aa\nb"]


def test_windows_are_of_all_packages_but_those_for_tests(made: dict[str, Path]) -> None:
    frames = {
        part: pl.read_parquet(made["windows"] / f"{part}.parquet") for part in ("train", "valid", "test", "unlabeled")
    }
    assert frames["train"].is_empty() and frames["test"].is_empty()
    assert set(frames["unlabeled"]["group"]) == {"docker", "psutil"} and set(frames["valid"]["group"]) == {"traitlets"}
    assert OF_TEST in "".join(pl.read_parquet(made["corpus"] / "functions.parquet")["code"]), "or this shows nothing"
    assert not any(OF_TEST in window for frame in frames.values() for window in frame["code"])
    assert any("in_two_packages" in window for window in frames["unlabeled"]["code"])
    assert not set(frames["unlabeled"]["code"]) & set(frames["valid"]["code"])
    assert max(map(len, frames["unlabeled"]["code"])) <= WINDOWS["characters"]


def test_a_larger_budget_takes_more_of_the_same_windows(made: dict[str, Path], tmp_path: Path) -> None:
    found = []
    for count in (5, 20):
        folder = tmp_path / str(count)
        spec = WINDOWS | {"windows": count}
        summary = run_stage("codekd.data.windows", folder, spec, {"corpus/current": made["corpus"]})
        assert summary["unlabeled"]["examples"] == count
        found.append((pl.read_parquet(folder / "unlabeled.parquet"), pl.read_parquet(folder / "valid.parquet")))
    (few, judged), (more, judged_too) = found
    assert few["id"].to_list() == more["id"].to_list()[:5]
    assert judged.equals(judged_too), "what is held out does not depend on how much is learnt from"


def test_without_code_to_be_judged_on_there_is_no_start(made: dict[str, Path], tmp_path: Path) -> None:
    spec = WINDOWS | {"packages": {"docker": "train"}}
    with pytest.raises(CodekdError, match="packages that the split has for valid"):
        run_stage("codekd.data.windows", tmp_path / "windows", spec, {"corpus/current": made["corpus"]})


# Losses.


def rows(seed: int, count: int = 5, width: int = 7) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive_cosine(first: Sequence[float], second: Sequence[float]) -> float:
    product = sum(one * other for one, other in zip(first, second, strict=True))
    return product / math.sqrt(sum(one * one for one in first) * sum(one * one for one in second))


def test_alignment_is_that_of_the_formula() -> None:
    student, teacher = rows(0), rows(1)
    cosines = [[naive_cosine(s, t) for t in teacher.tolist()] for s in student.tolist()]
    distance = sum(1 - cosines[i][i] for i in range(5)) / 5
    assert cosine_distance(student, teacher).item() == pytest.approx(distance, abs=1e-12)
    shares = [math.exp(row[i] / 0.05) / sum(math.exp(one / 0.05) for one in row) for i, row in enumerate(cosines)]
    expected = -sum(math.log(share) for share in shares) / 5
    assert contrast(student, teacher, 0.05).item() == pytest.approx(expected, abs=1e-9)


def aligned(**settings: Any) -> Any:
    return components.parse("starts", {"kind": "aligned", "teacher": "minilm", **settings})


def test_an_aligned_start_weighs_both_terms_and_does_not_see_padding() -> None:
    states, teacher = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(2)), rows(3, 3, 5)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]])
    batch = SimpleNamespace(input_ids=mask, attention_mask=mask, teacher={"last": teacher.half()})
    one = aligned(cosine=0.5, contrast=2.0, temperature=0.1)
    torch.manual_seed(0)
    parts = one.parts(4, {"last": (5,)})
    loss = one.loss(SimpleNamespace(hidden_states=(None, states)), batch, parts)
    means = torch.stack([row[:count].mean(0) for row, count in zip(states, (6, 3, 2), strict=True)])
    target = teacher.half().float()
    mapped = means @ parts.weight.T + parts.bias
    expected = 0.5 * cosine_distance(mapped, target) + 2.0 * contrast(mapped, target, 0.1)
    torch.testing.assert_close(loss, expected)
    other = states.masked_fill(~mask.unsqueeze(-1).bool(), 99.0)
    torch.testing.assert_close(one.loss(SimpleNamespace(hidden_states=(None, other)), batch, parts), loss)


def batch_of(tokens: torch.Tensor, shown: torch.Tensor, whole: Batch | None = None) -> Batch:
    mask = torch.ones_like(tokens)
    return Batch(torch.arange(len(tokens)), tokens, mask, mask, tokens[:, 0], {}, None, shown, whole=whole)


def test_masked_language_modelling_is_that_of_the_formula_and_of_its_parts() -> None:
    generator = torch.Generator().manual_seed(4)
    tokens = torch.randint(3, 11, (4, 5), generator=generator)
    shown = tokens.masked_fill(torch.rand(4, 5, generator=generator) < 0.4, 2)
    states = torch.randn(4, 5, 6, generator=generator)
    embeddings = torch.randn(11, 3, generator=generator)
    head = MaskedHead(6, embeddings, 0.5)
    found = masked_loss(states, batch_of(tokens, shown), head, embeddings)
    total, count = 0.0, 0
    for row in range(4):
        for place in range(5):
            if shown[row, place] == 2:
                hidden = head.transform[0](states[row, place])
                hidden = torch.nn.functional.gelu(hidden).double()
                hidden = 0.5 * (hidden - hidden.mean()) / (hidden.var(correction=0) + 1e-5).sqrt()
                logits = (embeddings.double() @ hidden).tolist()
                total += math.log(sum(map(math.exp, logits))) - logits[tokens[row, place]]
                count += 1
    assert 3 < count < 17
    assert found.item() == pytest.approx(total / count, rel=1e-5)
    whole = batch_of(tokens, shown)
    cuts = ([0], [1, 2, 3])
    parts = [masked_loss(states[c], batch_of(tokens[c], shown[c], whole), head, embeddings) * len(c) / 4 for c in cuts]
    torch.testing.assert_close(sum(parts).float(), found)


def test_first_guesses_are_moderate_whatever_an_architecture_draws() -> None:
    for scale in (0.02, 1.0):
        embeddings = scale * torch.randn(200, 64, generator=torch.Generator().manual_seed(5))
        head = MaskedHead(64, embeddings, gain_for(embeddings))
        logits = head(torch.randn(30, 64, generator=torch.Generator().manual_seed(6)), embeddings)
        assert logits.std() < 1.1


def test_principal_components_are_those_of_the_covariance() -> None:
    points = rows(7, 40, 6).numpy() * np.arange(1, 7)
    found = principal_components(points, 3)
    _, vectors = np.linalg.eigh(np.cov(points.T))
    expected = (points - points.mean(0)) @ vectors[:, ::-1][:, :3]
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-9)
    assert principal_components(points, 10).shape == (40, 6)


def test_rare_tokens_weigh_more() -> None:
    weights = zipf_weights(4, 0.1)
    total = sum(1 / rank for rank in (2, 3, 4, 5))
    np.testing.assert_allclose(weights, [0.1 / (0.1 + 1 / rank / total) for rank in (2, 3, 4, 5)])


# What a teacher gives of windows.


def test_the_last_mean_state_is_captured_of_the_pretrained_encoder(made: dict[str, Path]) -> None:
    from transformers import AutoModel

    windows = pl.read_parquet(made["windows"] / "valid.parquet")
    found = read_signal(made["last"], ["valid"], "last", windows["id"].to_list()).values
    model = AutoModel.from_pretrained(made["pretrained"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(made["pretrained"])
    for code, row in zip(windows["code"].head(5), found, strict=False):
        ids = [tokenizer.cls_token_id, *tokenizer.encode(code, add_special_tokens=False)[:126], tokenizer.sep_token_id]
        with torch.inference_mode():
            states = model(torch.tensor([ids])).last_hidden_state[0].double()
        np.testing.assert_allclose(row.astype(float), states.mean(0).numpy(), atol=4e-3)


def test_what_was_captured_of_windows_is_verified(made: dict[str, Path], tmp_path: Path) -> None:
    read = {"encoded": made["teacher-128"], "pretrained": made["pretrained"], "syntax": made["syntax"]}
    signals = {"last": parse({"kind": "last"}), "relations": parse({"kind": "relations", "layers": 2})}
    for name, signal in signals.items():
        run_signals("codekd.signals.verify", {tmp_path / name: signal}, {**read, "signal": made[name]}, PRETRAINED)
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for path in made["last"].glob("*"):
        (wrong / path.name).write_bytes(path.read_bytes())
    ids = pl.read_parquet(made["windows"] / "valid.parquet")["id"].to_list()
    rows = read_signal(made["last"], ["valid"], "last", ids)
    write_shard(wrong / "valid-00000.parquet", "last", ids, replace(rows, values=rows.values + np.float16(0.5)))
    with pytest.raises(CodekdError, match="differ from what the teacher gives"):
        run_signals("codekd.signals.verify", {tmp_path / "no": signals["last"]}, {**read, "signal": wrong}, PRETRAINED)


# The stage.


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_masked_start_learns_to_guess(architecture: str, made: dict[str, Path], tmp_path: Path) -> None:
    training = TRAINING | {"epochs": 24, "learning_rate": 5e-3}
    summary = make(made, tmp_path / "masked", architecture, kind="masked", training=training)
    history = pl.read_parquet(tmp_path / "masked" / "history.parquet")
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    assert summary["valid_accuracy"] == max(history["valid_accuracy"]) > 20 / 400
    assert summary["windows"] == len(pl.read_parquet(made["windows"] / "unlabeled.parquet"))
    assert summary["train_cpu_seconds"] > 0


@pytest.mark.parametrize("masked", [0.0, 1.0])
def test_an_aligned_start_follows_the_teacher(masked: float, made: dict[str, Path], tmp_path: Path) -> None:
    training = TRAINING | {"epochs": 8, "learning_rate": 1e-2} | ({} if masked else {"word_dropout": 0.0})
    summary = make(made, tmp_path / "aligned", kind="aligned", teacher="minilm", masked=masked, training=training)
    history = pl.read_parquet(tmp_path / "aligned" / "history.parquet")
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert ("valid_accuracy" in history.columns) == bool(masked)
    assert summary["valid_cosine"] == max(history["valid_cosine"]) > history["valid_cosine"][0]


def test_a_start_of_relations_trains(made: dict[str, Path], tmp_path: Path) -> None:
    make(made, tmp_path / "relations", kind="relations", teacher="minilm", beta=10.0)
    history = pl.read_parquet(tmp_path / "relations" / "history.parquet")
    make(made, tmp_path / "masked", kind="masked")
    assert history["loss"][0] > pl.read_parquet(tmp_path / "masked" / "history.parquet")["loss"][0] + 0.1
    assert history["loss"][-1] < history["loss"][0]


def test_embeddings_are_made_by_the_teacher(made: dict[str, Path], tmp_path: Path) -> None:
    summary = make(made, tmp_path / "embeddings", kind="embeddings", teacher="minilm")
    torch.manual_seed(1)
    vocabulary = read_vocabulary(made["tokenizer"])
    drawn = components.parse("students", ARCHITECTURES["roberta"]).build(vocabulary, 2, "first")
    before, after = drawn.state_dict(), load_file(tmp_path / "embeddings" / FILE)
    [name] = [name for name in after if name.endswith("word_embeddings.weight")]
    tokens, states = token_states(made["tokenizer"], made["pretrained"], [])
    assert summary["embeddings"] == len(tokens) > 100 and states.shape == (len(tokens), WIDTH)
    assert {*range(vocabulary.size)} - {*tokens.tolist()} > {*vocabulary.special_ids}
    kept = sorted({*range(vocabulary.size)} - {*tokens.tolist()})
    assert torch.equal(before[name][kept], after[name][kept]), "tokens without text keep what was drawn"
    assert after[name][tokens].std().item() == pytest.approx(before[name][tokens].std().item(), rel=1e-6)
    near = np.corrcoef(after[name][tokens].numpy())[np.triu_indices(len(tokens), 1)]
    alike = np.corrcoef(states - states.mean(0))[np.triu_indices(len(tokens), 1)]
    assert np.corrcoef(near, alike)[0, 1] > 0.8, "tokens are alike that are alike to the teacher"
    assert all(torch.equal(before[one], after[one]) for one in after if one != name)


def test_a_teachers_state_of_a_token_is_the_mean_of_its_pieces(made: dict[str, Path]) -> None:
    from transformers import AutoModel

    tokens, states = token_states(made["tokenizer"], made["pretrained"], [])
    own, theirs = (AutoTokenizer.from_pretrained(made[name]) for name in ("tokenizer", "pretrained"))
    model = AutoModel.from_pretrained(made["pretrained"]).eval()
    place = len(tokens) - 3
    pieces = theirs.encode(own.decode([tokens[place]]), add_special_tokens=False)
    with torch.inference_mode():
        found = model(torch.tensor([[theirs.cls_token_id, *pieces, theirs.sep_token_id]])).last_hidden_state[0, 1:-1]
    np.testing.assert_allclose(states[place], found.mean(0).double().numpy(), atol=1e-5)


def test_a_start_that_was_killed_goes_on_and_ends_with_the_same_weights(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(made, tmp_path / "whole", kind="masked")
    whole = stage.masked_accuracy
    calls = []

    def killed(*arguments: Any) -> float:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(stage, "masked_accuracy", killed)
    with pytest.raises(KeyboardInterrupt):
        make(made, tmp_path / "killed", kind="masked")
    (tmp_path / "killed").rmdir()
    make(made, tmp_path / "killed", kind="masked")
    assert len(calls) == 4, "the first epoch is not repeated"
    assert (tmp_path / "killed" / FILE).read_bytes() == (tmp_path / "whole" / FILE).read_bytes()


# Students that begin from it.


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_student_begins_from_the_weights_and_draws_its_head(
    architecture: str, made: dict[str, Path], tmp_path: Path
) -> None:
    from codekd.training.student import prepare

    make(made, tmp_path / "start", architecture, kind="masked", training=TRAINING | {"epochs": 1})
    weights = load_file(tmp_path / "start" / FILE)
    assert not any(name.startswith(("head.", "projector.")) for name in weights)
    students = {}
    for seed, start in ((1, True), (2, True), (1, False)):
        spec = {"architecture": ARCHITECTURES[architecture], "method": {"kind": "ft"}, "classes": 3, "pooling": "mean"}
        parents = {"encoded": made["encoded"]} | ({"start": tmp_path / "start"} if start else {})
        job = job_of("students", tmp_path / "cell", spec | {"seed": seed}, parents)
        # Windows are read as a task's; the train split has none, so that one is taken from what there is.
        monkey = pytest.MonkeyPatch()
        monkey.setattr("codekd.training.student.LEARNED_FROM", {"labelled": ("valid",), "all": ("valid",)})
        students[seed, start] = prepare(job)[0].state_dict()
        monkey.undo()
    for seed in (1, 2):
        assert all(torch.equal(students[seed, True][name], weight) for name, weight in weights.items())
    heads = [name for name in students[1, True] if name not in weights]
    assert heads and all(name.startswith("head.") for name in heads)
    assert all(torch.equal(students[1, True][name], students[1, False][name]) for name in heads), "by the cell's seed"
    assert not torch.equal(students[1, True]["head.dense.weight"], students[2, True]["head.dense.weight"])
    assert any(not torch.equal(students[1, False][name], weight) for name, weight in weights.items())


def test_weights_of_another_architecture_are_refused(made: dict[str, Path], tmp_path: Path) -> None:
    make(made, tmp_path / "start", kind="masked", training=TRAINING | {"epochs": 1})
    other = components.parse("students", ARCHITECTURES["roberta"] | {"hidden": 8})
    with pytest.raises(CodekdError, match="weights of another student"):
        load_start(other.build(read_vocabulary(made["tokenizer"]), 2, "first"), tmp_path / "start")


# The graph.

OF_LEXEMES = {"preset": "lexical-0.7m"}
PATH = Path(__file__).parents[1] / "config" / "config.yaml"
BASE = yaml.safe_load(PATH.read_text()) | {
    "students": {
        "masked": {"preset": "roberta-1.5m", "start": {"kind": "masked"}},
        "aligned": {"preset": "bigru-1.5m", "start": {"kind": "aligned", "teacher": "minilm"}},
    },
    "grid": {
        "tasks": ["exception", "clone", "defect"],
        "teachers": ["minilm"],
        "students": ["roberta-1.5m", "masked", "aligned"],
        "methods": ["ft", "kd"],
        "seeds": [1],
    },
}


def graph(**changes: Any) -> Graph:
    config = copy.deepcopy(BASE)
    for key, value in changes.items():
        *sections, last = key.split("__")
        place = config
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return Graph(load_study(config, [PATH]))


def renamed(**changes: Any) -> set[str]:
    before = graph()
    return {one.path for one in graph(**changes) if str(one.folder) not in before.by_folder}


def node(study: Graph, path: str) -> Node:
    [found] = [one for one in study if one.path == path]
    return found


def test_a_start_is_made_once_for_all_tasks_methods_and_seeds_of_a_vocabulary() -> None:
    study = graph(grid__seeds=[1, 2])
    starts = {one.path for one in study.stage("starts")}
    expected = {
        f"starts/{group}/{name}/{name}" for group in ("exceptions", "functions") for name in ("masked", "aligned")
    }
    assert starts == expected
    cells = [one for one in study.stage("students") if one.coordinates[2] == "masked"]
    assert len(cells) == 3 * 2 * 2
    assert {one.parents["start"].path for one in cells if one.coordinates[0] != "exception"} == {
        "starts/functions/masked/masked"
    }
    assert not renamed(grid__seeds=[1, 2]) & starts
    assert not renamed(methods__kd={"temperature": 2.0}) & starts
    assert not renamed(training={"epochs": 9}) & starts, "a cell's training is not that of its start"
    assert not renamed(grid__tasks=["defect"]) & starts


def test_a_cell_knows_its_start_by_its_parent_alone_and_others_are_as_they_were() -> None:
    study = graph()
    plain, started = (
        node(study, f"students/defect/minilm/{student}/kd/seed1") for student in ("roberta-1.5m", "masked")
    )
    assert plain.spec == started.spec and plain.code != "" and plain.entries == started.entries
    assert started.parents.keys() - plain.parents.keys() == {"start"}
    config = copy.deepcopy(BASE)
    config["grid"]["students"] = ["roberta-1.5m"]
    alone = Graph(load_study(config, [PATH]))
    assert not alone.stage("starts") and not alone.stage("windows")
    assert {str(one.folder) for one in alone if one.stage != "report"} <= set(study.by_folder)


def test_a_change_of_a_recipe_renames_the_start_and_its_cells_alone() -> None:
    found = renamed(students__masked={"preset": "roberta-1.5m", "start": {"kind": "masked", "windows": 10}})
    stages = {path for path in found if path.split("/")[0] not in ("starts", "students")}
    assert stages == {"report/embedded", "windows/current+10x320"} | {
        f"encoded/current+10x320/bpe2000-{group}-512" for group in ("exceptions", "functions")
    }
    own = {path for path in found if path.startswith(("starts/", "students/"))}
    assert own == {f"starts/{group}/masked/masked" for group in ("exceptions", "functions")} | {
        f"students/{task}/{teacher}/masked/{method}/seed1"
        for task in ("exception", "clone", "defect")
        for teacher, method in (("none", "ft"), ("minilm", "kd"))
    }


def test_no_package_for_tests_is_read() -> None:
    study = graph()
    [windows] = study.stage("windows")
    assert set(windows.spec["packages"].values()) == {"train", "valid"} | (
        {"transfer"} & set(windows.spec["packages"].values())
    )
    todo, reached = [*study.stage("starts")], set()
    while todo:
        one = todo.pop()
        reached.add(one.stage)
        todo += one.parents.values()
    assert "teachers" not in reached, "it is the pretrained encoder that teaches"
    assert study.stage("starts")[0].parents["tokenizer"].stage == "tokenizers"


def test_fine_tuned_teachers_may_teach_a_start() -> None:
    start = {"kind": "aligned", "teacher": "minilm", "tasks": ["defect", "clone"]}
    study = graph(students__aligned={"preset": "bigru-1.5m", "start": start})
    parents = node(study, "starts/functions/aligned/aligned").parents
    assert {role: parents[role].parents["teacher"].path for role in parents if role.startswith("signals/")} == {
        "signals/last/clone": "teachers/clone/minilm",
        "signals/last/defect": "teachers/defect/minilm",
    }


def test_an_adapted_teacher_teaches_as_adapted() -> None:
    study = graph(
        teachers__minilm={"adaptation": {"functions": 100}},
        students__embedded={"preset": "roberta-1.5m", "start": {"kind": "embeddings", "teacher": "minilm"}},
        grid__students=["aligned", "embedded"],
    )
    assert node(study, "starts/functions/embedded/embeddings").parents["pretrained"].stage == "adapted"
    captured = node(study, "starts/functions/aligned/aligned").parents["signals/last"]
    assert captured.parents["pretrained"].stage == "adapted"


def test_several_teachers_states_are_averaged(made: dict[str, Path], tmp_path: Path) -> None:
    ids = pl.read_parquet(made["windows"] / "valid.parquet")["id"].to_list()
    one = read_signal(made["last"], ["valid"], "last", ids)
    (tmp_path / "other").mkdir()
    write_shard(tmp_path / "other" / "valid-00000.parquet", "last", ids, replace(one, values=3 * one.values))
    parents = {"signals/last/a": made["last"], "signals/last/b": tmp_path / "other", "signals/lasting": tmp_path}
    found = stage._captured(parents, ["valid"], "last", ids)
    np.testing.assert_allclose(found.values, 2 * one.values.astype(np.float32), rtol=1e-3)


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"start": {"kind": "maskd"}}, "start.kind: .*no kind 'maskd'; known kinds are aligned, embeddings"),
        (
            OF_LEXEMES | {"start": {"kind": "masked"}},
            "start: `kind: masked` is about the tokens of a learned vocabulary",
        ),
        (
            OF_LEXEMES | {"start": {"kind": "aligned", "teacher": "minilm"}},
            "lexemes: .* `start: .kind: aligned, masked",
        ),
        (OF_LEXEMES | {"start": {"kind": "embeddings", "teacher": "minilm"}}, "tokens of a learned vocabulary"),
        ({"start": "masked"}, r"write `start: \{kind: ...\}` \(one of aligned"),
        ({"start": {"kind": "masked", "window": 3}}, "start.window: unknown key; did you mean 'windows'"),
        ({"start": {"kind": "aligned"}}, "start.teacher: this key is required"),
        ({"start": {"kind": "aligned", "teacher": "minilmm"}}, "start.teacher: there is no 'minilmm'; did you mean"),
        ({"start": {"kind": "aligned", "teacher": "minilm", "tasks": ["defct"]}}, "start.tasks: there is no 'defct'"),
        ({"start": {"kind": "aligned", "teacher": "minilm", "cosine": 0, "contrast": 0}}, "write `kind: masked`"),
        ({"start": {"kind": "masked", "training": {"word_dropout": 0}}}, "`training.word_dropout` must be more than 0"),
        ({"start": {"kind": "masked", "corpora": ["later"]}}, "students.masked.start reads the corpus 'later'"),
        ({"layers": 9, "start": {"kind": "relations", "teacher": "minilm"}}, "start.teacher: minilm: a student of 9"),
    ],
)
def test_what_is_wrong_with_a_start_is_named(student: dict[str, Any], message: str) -> None:
    with pytest.raises(CodekdError, match=message):
        graph(students__masked={"preset": "roberta-1.5m", **student})


def test_students_of_lexemes_share_an_aligned_start_on_all_tasks() -> None:
    start = {"kind": "aligned", "masked": 0, "teacher": "minilm", "windows": 100}
    study = graph(students__lexical=OF_LEXEMES | {"start": start}, grid__students=["lexical"])
    [made] = study.stage("starts")
    assert made.coordinates == ("lexemes", "lexical", "aligned") and "tokenizer" not in made.parents
    assert made.parents["encoded"].path == "encoded/current+100x320/lexemes-128"
    assert {one.parents["start"].path for one in study.stage("students")} == {made.path}


def test_a_student_of_lexemes_is_aligned_and_its_cell_begins_there(made: dict[str, Path], tmp_path: Path) -> None:
    spec = {"max_length": 64, "language": "python", "classes": ["code"], "columns": ["code"], "has_hole": False}
    run_stage("codekd.data.encode_lexemes", tmp_path / "lexemes", spec, {"examples": made["windows"]})
    architecture = {"kind": "conv", "lexemes": {"buckets": 256, "width": 8}, "layers": 1, "hidden": 8, "max_length": 64}
    start = {"kind": "aligned", "masked": 0, "teacher": "minilm", "training": TRAINING | {"epochs": 6}}
    (tmp_path / "scratch" / "start").mkdir(parents=True)
    parents = {"encoded": tmp_path / "lexemes", "signals/last": made["last"]}
    summary = run_stage(
        "codekd.training.start", tmp_path / "start", {"start": start, "architecture": architecture}, parents
    )
    history = pl.read_parquet(tmp_path / "start" / "history.parquet")
    assert "valid_accuracy" not in history.columns and summary["valid_cosine"] == history["valid_cosine"].max()
    assert history["loss"].to_list()[-1] < history["loss"].to_list()[0] - 0.2
    vocabulary = replace(read_vocabulary(tmp_path / "lexemes"), sides_apart=True)
    student = components.parse("students", architecture).build(vocabulary, 3, "pair")
    load_start(student, tmp_path / "start")
    weights = load_file(tmp_path / "start" / FILE)
    assert torch.equal(student.embedding.rows.weight, weights["embedding.rows.weight"])


def test_a_teacher_without_states_cannot_teach_a_start(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text("{}")
    asked = {"kind": "lm", "source": {"folder": str(tmp_path)}, "layers": 2, "width": 16, "prompt": "Is {code} good?"}
    start = {"kind": "aligned", "teacher": "asked"}
    with pytest.raises(CodekdError, match="asked gives no states; name an encoder"):
        graph(teachers__asked=asked, students__masked={"preset": "roberta-1.5m", "start": start})


def test_a_start_is_planned(tmp_path: Path) -> None:
    study = graph()
    starts = {one.coordinates[:2]: one for one in study.stage("starts")}
    more = graph(students__masked={"preset": "roberta-1.5m", "start": {"kind": "masked", "windows": 500000}})
    few, many = (seconds(node(one, "starts/functions/masked/masked"), tmp_path) for one in (study, more))
    assert 8 < many / few < 10.5
    assert seconds(starts["functions", "aligned"], tmp_path) > few, "a recurrent student takes longer"
    [captured] = [one for one in study.stage("signals") if one.coordinates[2] == "last"]
    assert signal_bytes(captured, tmp_path) == (37 + 2 * 384) * 51000
    assert seconds(captured, tmp_path) > 60
