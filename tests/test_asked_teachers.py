"""Language models as teachers: a tiny causal model made here, asked about real code."""

import importlib
import json
import shutil
from itertools import accumulate, repeat
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from checkout import Checkout
from crashes import SMALL
from data_stages import code_columns, job_of, run_signals, run_stage
from test_checkpoints import bpe, codet5
from test_sequences import write_examples
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from codekd.data.batches import load_encoded
from codekd.data.splits import SPLITS
from codekd.errors import CodekdError
from codekd.models.device import Device
from codekd.models.teachers.lm import Config
from codekd.signals import logits, prompted
from codekd.signals.format import read_shard, read_signal, write_shard
from codekd.signals.prompted import named
from codekd.study.graph import Graph
from codekd.study.manifest import write_manifest
from codekd.study.resolve import load_study

CLASSES = ["no", "yes"]
PROMPT = "# Is this a test? {code}\n# Answer:"
COUNT = 12


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal model in a folder as the hub has them; its weights are large, so that it is sure of something."""
    folder = tmp_path_factory.mktemp("lm") / "tiny"
    folder.mkdir()
    tokenizer = bpe(["<|endoftext|>"])._tokenizer
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=4, n_positions=256, initializer_range=0.3)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def made(lm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The parents of a capture."""
    folder = tmp_path_factory.mktemp("asked")
    config = Config(source={"folder": lm.name}, prompt=PROMPT, layers=2, width=32)
    files = {f"file/{name}/0": path for name, [path] in config.local_files(lm.parent).items()}
    spec = {"origin": config.origin(), "trained": False, "layers": 2, "width": 32}
    run_stage("codekd.models.pretrained", folder / "pretrained", spec, files)
    (folder / "examples").mkdir()
    write_examples(folder / "examples", code_columns(["code"], COUNT))
    spec = {"max_length": 48, "prefix": [], "classes": CLASSES, "columns": ["code"], "has_hole": False}
    parents = {"examples": folder / "examples", "tokenizer": folder / "pretrained"}
    run_stage("codekd.data.encode", folder / "encoded", spec, parents)
    return {"pretrained": folder / "pretrained", "encoded": folder / "encoded"}


def spec_of(**question: Any) -> dict[str, Any]:
    config = Config(source={"folder": "."}, prompt=PROMPT, layers=2, width=32, **question)
    return {"by": "prompted", "question": config.question(), "classes": CLASSES, "columns": ["code"]}


def test_a_language_model_keeps_its_words(made: dict[str, Path]) -> None:
    assert "__HOLE__" not in AutoTokenizer.from_pretrained(made["pretrained"]).get_vocab()


@pytest.mark.parametrize("words", [["a", "b"], [" = None", " return self"], ["x", " return None else"]])
def test_scores_are_the_log_probabilities_of_the_words(words: list[str], made: dict[str, Path], tmp_path: Path) -> None:
    run_signals("codekd.signals.capture", {tmp_path / "logits": logits.Config()}, made, spec_of(words=words))
    data = load_encoded(made["encoded"], ["train"])
    found = read_signal(tmp_path / "logits", ["train"], "logits", data.ids).values

    model = AutoModelForCausalLM.from_pretrained(made["pretrained"]).double().eval()
    tokenizer = AutoTokenizer.from_pretrained(made["pretrained"])
    before, after = (tokenizer.encode(text) for text in PROMPT.split("{code}"))
    for row in range(COUNT):
        code = data.tokens[data.offsets[row] : data.offsets[row + 1]].tolist()
        for number, word in enumerate(tokenizer.encode(word) for word in words):
            sequence = before + code + after + word
            with torch.no_grad():
                log_p = model(torch.tensor([sequence])).logits[0].log_softmax(-1)
            start = len(sequence) - len(word)
            naive = sum(log_p[start + n - 1, token].item() for n, token in enumerate(word))
            assert found[row, number] == pytest.approx(naive, abs=1e-4)


def test_answers_are_counted_and_the_same_every_time(made: dict[str, Path], tmp_path: Path) -> None:
    common = ["e", "s"]
    spec = spec_of(words=common, answers="sample", samples=6, new_tokens=4, smoothing=0.5)
    folders = {tmp_path / name: logits.Config() for name in ("first", "again")}
    for folder, signal in folders.items():
        run_signals("codekd.signals.capture", {folder: signal}, made, spec)
    data = load_encoded(made["encoded"], SPLITS)
    first, again = (read_signal(folder, SPLITS, "logits", data.ids).values for folder in folders)
    assert np.array_equal(first, again)
    shares = np.exp(first)
    assert np.allclose(shares.sum(1), 1)
    assert len(np.unique(first.round(4))) > 3, "answers differ"
    votes = shares[:, 0] / shares[:, 1]
    possible = [(a + 0.5) / (b + 0.5) for a in range(7) for b in range(7 - a)]
    assert all(np.isclose(vote, possible).any() for vote in votes)

    summary = checked(made, tmp_path / "first", spec)
    assert summary["difference"] == 0, "what is sampled depends on the example, not on its batch"


def checked(made: dict[str, Path], captured: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """What the check says of some logits."""
    job = job_of("signals", captured, spec | {"signal": {"kind": "logits"}}, {**made, "signal": captured})
    [summary] = importlib.import_module("codekd.signals.verify").run([job], [captured])
    return summary


def in_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine's CPU run a language model as a GPU with bfloat16 would."""

    monkeypatch.setattr(prompted, "_device", lambda model: Device(torch.device("cpu"), torch.bfloat16))


def test_a_model_in_half_precision_is_what_was_captured_of_it(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(words=[" no", " x y"])
    [on_cpu] = run_signals("codekd.signals.capture", {tmp_path / "whole": logits.Config()}, made, spec)
    assert on_cpu == {"device": "cpu", "precision": "float32"}, "on a CPU it runs in no other"
    in_half(monkeypatch)
    [in_bf16] = run_signals("codekd.signals.capture", {tmp_path / "half": logits.Config()}, made, spec)
    assert in_bf16["precision"] == "bfloat16"
    for name, least in (("half", 0), ("whole", logits.Config.tolerance)):
        summary = checked(made, tmp_path / name, spec)
        assert least <= summary["difference"] < summary["tolerance"] == 0.125
        assert summary["precision"] == "bfloat16"
        assert summary["captured"]["precision"] == {"half": "bfloat16", "whole": "float32"}[name]


@pytest.mark.parametrize(
    ("precision", "others", "fine"), [("bfloat16", 4, True), ("bfloat16", 12, False), ("float32", 1, False)]
)
def test_rounding_may_sway_some_sampled_answers_but_not_most(
    precision: str, others: int, fine: bool, made: dict[str, Path], tmp_path: Path
) -> None:
    spec = spec_of(words=["e", "s"], answers="sample", samples=2, new_tokens=2)
    run_signals("codekd.signals.capture", {tmp_path / "a": logits.Config()}, made, spec)
    for split in SPLITS:
        path = tmp_path / "a" / f"{split}-00000.parquet"
        ids, rows = read_shard(path, "logits")
        rows.values[:others] = rows.values[:others, ::-1] - 1
        write_shard(path, "logits", ids, rows)
    write_manifest(tmp_path / "a", {"summary": {"device": "cuda", "precision": precision}})
    if fine:
        assert checked(made, tmp_path / "a", spec)["excused"] == 0.5
    else:
        with pytest.raises(CodekdError, match=f"{others} of 12 examples differ"):
            checked(made, tmp_path / "a", spec)


@pytest.mark.parametrize("words", [[" no", " noQX"], [" noQX", " no"]])
def test_words_of_which_the_shorter_always_wins_are_refused(
    words: list[str], made: dict[str, Path], tmp_path: Path
) -> None:
    expected = (
        r"tokens of ' no' begin those of ' noQX'.* never find the latter more likely: write `words:` of which none"
    )
    tokenizer = AutoTokenizer.from_pretrained(made["pretrained"])
    shorter, longer = sorted((tokenizer.encode(word) for word in words), key=len)
    assert longer[: len(shorter)] == shorter, "the vocabulary is learnt from this project's source, which changes"
    with pytest.raises(CodekdError, match=expected):
        run_signals("codekd.signals.capture", {tmp_path / "a": logits.Config()}, made, spec_of(words=words))
    sampled = spec_of(words=words, answers="sample", samples=2, new_tokens=2)
    run_signals("codekd.signals.capture", {tmp_path / "b": logits.Config()}, made, sampled)


def test_words_that_only_their_letters_begin_alike_are_told_apart(made: dict[str, Path], tmp_path: Path) -> None:
    words = [" re", " return"]
    assert all(len(AutoTokenizer.from_pretrained(made["pretrained"]).encode(word)) == 1 for word in words)
    run_signals("codekd.signals.capture", {tmp_path / "a": logits.Config()}, made, spec_of(words=words))


def test_sampling_has_the_distribution_of_the_model() -> None:
    from codekd.signals.prompted import _Sampling

    scores = torch.tensor([[1.0, 0.0, -1.0]]).repeat(4000, 1)
    generators = [np.random.default_rng(seed) for seed in range(4000)]
    drawn = _Sampling(generators, 2.0)(torch.empty(0), scores).argmax(1)
    shares = torch.bincount(drawn, minlength=3) / 4000
    assert torch.allclose(shares, (scores[0] / 2).softmax(0), atol=0.03)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (" KeyError because", 1),
        ("It is an ioerror, not a KeyError", 2),
        ("Error", 0),
        ("none of these", None),
        ("", None),
    ],
)
def test_the_word_that_comes_first_is_the_answer(answer: str, found: int | None) -> None:
    assert named(answer, ["Error", " KeyError", "IOError"]) == found


def test_a_word_that_begins_with_another_is_that_word() -> None:
    assert named("not sure", [" no", "not"]) == 1


def test_the_scores_of_the_teacher_are_those_of_its_logits(made: dict[str, Path], tmp_path: Path) -> None:
    run_signals("codekd.signals.capture", {tmp_path / "logits": logits.Config()}, made, spec_of())
    parents = {**made, "signals/logits": tmp_path / "logits"}
    run_stage("codekd.training.asked", tmp_path / "teacher", {"classes": 2, "metric": "accuracy"}, parents)
    predictions = pl.read_parquet(tmp_path / "teacher" / "predictions.parquet")
    metrics = json.loads((tmp_path / "teacher" / "metrics.json").read_text())
    right = (predictions["label"] == predictions["prediction"]).mean()
    assert metrics["scores"]["test"]["accuracy"] == pytest.approx(right)
    model = AutoModelForCausalLM.from_pretrained(made["pretrained"])
    assert metrics["parameters"] == model.num_parameters()


@pytest.mark.parametrize(
    ("prompt", "problem"),
    [
        ("Is it?", "needs {code} once"),
        ("{code} {code}", "needs {code} once"),
        ("{code!r}", "needs {code} once"),
        ("{code.__class__}", "needs {code} once"),
        ("{code_a} alone", "needs {code} once"),
        ("{code} {", "write {{ and }}"),
    ],
)
def test_a_prompt_without_the_code_is_refused(prompt: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Config(source={"folder": "."}, prompt=prompt, layers=2, width=32)


def test_words_for_other_classes_and_prompts_for_other_tasks_are_refused(made: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(CodekdError, match="`words` must be 2 different ones, one for each of no, yes; they are x, x"):
        run_signals("codekd.signals.capture", {tmp_path / "a": logits.Config()}, made, spec_of(words=["x", "x"]))
    same = spec_of(words=["X", " x"], answers="sample")
    with pytest.raises(CodekdError, match="`words` must be 2 different ones, one for each of no, yes; they are X,  x"):
        run_signals("codekd.signals.capture", {tmp_path / "c": logits.Config()}, made, same)
    pair = spec_of() | {"columns": ["code_a", "code_b"]}
    with pytest.raises(CodekdError, match=r"`prompt` has \{code\}; the task's code is code_a, code_b"):
        run_signals("codekd.signals.capture", {tmp_path / "b": logits.Config()}, made, pair)


def test_a_question_that_is_longer_than_the_model_reads_is_refused(made: dict[str, Path], tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(made["pretrained"])
    longest = load_encoded(made["encoded"], SPLITS).lengths.max()
    before = next(text for text in accumulate(repeat("# why? ")) if len(tokenizer.encode(text)) + longest > 256)
    prompt, tokens = before + "{code}", len(tokenizer.encode(before))
    assert tokens < 256
    expected = f"longest question has {longest} tokens of code and {tokens} of the .* reads 256 tokens: write `max_l"
    with pytest.raises(CodekdError, match=f"teachers.teacher: .*{expected}ength: {256 - tokens}`"):
        spec = spec_of(words=["a", "b"]) | {"question": {"prompt": prompt, "words": ["a", "b"], "answers": "score"}}
        run_signals("codekd.signals.capture", {tmp_path / "a": logits.Config()}, made, spec)


def test_an_encoder_is_no_language_model(made: dict[str, Path], tmp_path: Path) -> None:
    codet5(tmp_path / "codet5")
    parents = {"pretrained": tmp_path / "codet5", "encoded": made["encoded"]}
    with pytest.raises(CodekdError, match=r"no causal language model can be read from .*codet5"):
        run_signals("codekd.signals.capture", {tmp_path / "a": logits.Config()}, parents, spec_of())


def graph_of(lm: Path, methods: list[str], **teacher: Any) -> Graph:
    definition = {"kind": "lm", "source": {"folder": lm.name}, "prompt": PROMPT, "layers": 2, "width": 32} | teacher
    config = {
        "name": "asked",
        "grid": {
            "tasks": ["defect"],
            "teachers": ["tiny"],
            "students": ["bigru-1.5m"],
            "methods": methods,
            "seeds": [1],
        },
        "corpora": {name: {"pins": f"corpus/{name}.txt"} for name in ("current", "previous")},
        "split": "corpus/split.json",
        "teachers": {"tiny": definition},
    }
    path = lm.parent / "study.yaml"
    path.write_text(yaml.safe_dump(config))
    corpus = lm.parent / "corpus"
    if not corpus.exists():
        corpus.symlink_to(Path(__file__).parents[1] / "config" / "corpus")
    return Graph(load_study(config, [path]), lm.parent / "results")


def test_the_prompt_is_in_the_identity_of_what_is_captured(lm: Path) -> None:
    one = graph_of(lm, ["kd"])
    other = graph_of(lm, ["kd"], prompt=PROMPT + " ")
    renamed = {name.split("/")[0] for name in set(one.by_folder) ^ set(other.by_folder)}
    assert renamed == {"signals", "verified", "teachers", "students", "report"}
    assert graph_of(lm, ["kd"], temperature=0.5).by_folder.keys() == one.by_folder.keys(), (
        "it scores, it samples nothing"
    )
    sampled = graph_of(lm, ["kd"], answers="sample")
    assert graph_of(lm, ["kd"], answers="sample", temperature=0.5).by_folder.keys() != sampled.by_folder.keys()


def test_a_method_that_needs_states_of_a_language_model_is_refused(lm: Path) -> None:
    with pytest.raises(
        CodekdError, match=r"pkd for bigru-1.5m from tiny.*it needs logits, pooled, and this teacher gives logits"
    ):
        graph_of(lm, ["pkd"])


def test_a_study_with_a_language_model_runs_to_its_end(lm: Path, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "a person's project", "config/study.yaml")
    shutil.copytree(lm, checkout.folder / "config" / "tiny")
    definition = {"kind": "lm", "source": {"folder": "tiny"}, "prompt": PROMPT, "layers": 2, "width": 32}
    grid = {"tasks": ["defect"], "teachers": ["tiny"], "students": ["roberta-1.5m"], "methods": ["kd"], "seeds": [1]}
    config = yaml.safe_load(SMALL) | {"grid": grid, "teachers": {"tiny": definition}, "inference": True}
    (checkout.folder / "config" / "study.yaml").write_text(yaml.safe_dump(config))
    checkout.snakemake("all")
    [page] = checkout.results.glob("report/*/index.html")
    text = page.read_text()
    assert "the teacher tiny reaches" in text and "MFLOPs" in text
