"""Teachers as Hugging Face checkpoints: files as the hub has them, weights drawn here, tokenizers learnt here."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from data_stages import code_columns, run_stage
from huggingface_hub.errors import LocalEntryNotFoundError
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5ForConditionalGeneration,
)

from codekd.data.batches import load_encoded
from codekd.errors import CodekdError
from codekd.models.encoder import EncoderForSequenceClassification
from codekd.models.positions import positions
from codekd.models.teachers.checkpoint import Config
from codekd.study.graph import Graph
from codekd.study.lock import lock_file, unpinned
from codekd.study.resolve import load_study
from codekd.training.step import drop_words

WIDTH, LAYERS, CLASSES = 32, 3, 4
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
CODE = code_columns(["code"], 40)["code"]
SHAPE = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "intermediate_size": 64}


def bpe(special: list[str]) -> ByteLevelBPETokenizer:
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(CODE, vocab_size=400, special_tokens=special, show_progress=False)
    return tokenizer


def unixcoder(folder: Path) -> list[str]:
    """As published: vocabulary and merges apart, `<encoder-only>` among the words."""
    folder.mkdir()
    bpe([*SPECIAL, "<encoder-only>"]).save_model(str(folder))
    settings = {"tokenizer_class": "RobertaTokenizer", "model_max_length": 512, "add_prefix_space": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = RobertaConfig(
        vocab_size=400, pad_token_id=1, bos_token_id=0, eos_token_id=2, max_position_embeddings=130, **SHAPE
    )
    RobertaModel(config).save_pretrained(folder)
    return ["<encoder-only>", "</s>"]


def modernbert(folder: Path) -> list[str]:
    """As published: one file for the tokenizer, of words that begin with a bracket."""
    special = {"cls": "[CLS]", "pad": "[PAD]", "sep": "[SEP]", "unk": "[UNK]", "mask": "[MASK]"}
    backend = bpe(list(special.values()))._tokenizer
    names = {f"{name}_token": token for name, token in special.items()}
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(folder)
    ids = {"pad_token_id": 1, "cls_token_id": 0, "sep_token_id": 2, "bos_token_id": 0, "eos_token_id": 2}
    config = ModernBertConfig(vocab_size=400, max_position_embeddings=128, local_attention=16, **ids, **SHAPE)
    ModernBertModel(config).save_pretrained(folder)
    return []


def codet5(folder: Path) -> list[str]:
    """An encoder with a decoder, which is left out, and with words of a RoBERTa."""
    tokens = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=bpe(SPECIAL)._tokenizer, **tokens).save_pretrained(folder)
    config = T5Config(vocab_size=400, d_model=WIDTH, num_layers=LAYERS, num_heads=4, d_kv=8, d_ff=64, pad_token_id=1)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return []


def gpt2(folder: Path) -> list[str]:
    """A causal model, which has no token to pad with, to mask, or to tell the sides of a pair apart."""
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(tokenizer_object=bpe([end])._tokenizer, eos_token=end).save_pretrained(folder)
    config = GPT2Config(vocab_size=400, n_embd=WIDTH, n_layer=LAYERS, n_head=4, n_positions=128, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return []


def bert(folder: Path) -> list[str]:
    """Special tokens in a file of their own, as older checkpoints have them, and settings that name no class."""
    modernbert(folder)
    names = json.loads((folder / "tokenizer_config.json").read_text())
    names = {name: token for name, token in names.items() if name.endswith("_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(names))
    (folder / "tokenizer_config.json").write_text("{}")
    config = BertConfig(vocab_size=400, max_position_embeddings=128, pad_token_id=1, **SHAPE)
    BertModel(config).save_pretrained(folder)
    return []


MAKERS: dict[str, Callable[[Path], list[str]]] = {
    "unixcoder": unixcoder,
    "modernbert": modernbert,
    "codet5": codet5,
    "gpt2": gpt2,
    "bert": bert,
}


def pretrained(folder: Path, out: Path, **shape: int) -> Path:
    """What the stage makes of a local checkpoint."""
    config = Config(source={"folder": folder.name}, **({"layers": LAYERS, "width": WIDTH} | shape))
    files = {f"file/{name}/0": path for name, [path] in config.local_files(folder.parent).items()}
    spec = {"origin": config.origin(), "trained": True, "layers": config.layers, "width": config.width}
    run_stage("codekd.models.pretrained", out, spec, files)
    return out


def encoded(
    tokenizer: Path, out: Path, prefix: list[str], columns: tuple[str, ...] = ("code",), max_length: int = 64
) -> Path:
    from test_sequences import write_examples

    examples = out.with_name(f"{out.name}-examples")
    examples.mkdir()
    code = code_columns(columns, 12)
    write_examples(examples, {column: ["x = 1", *pieces[1:]] for column, pieces in code.items()})
    spec = {"max_length": max_length, "prefix": prefix, "classes": ["no", "yes"], "columns": columns, "has_hole": False}
    run_stage("codekd.data.encode", out, spec, {"examples": examples, "tokenizer": tokenizer})
    return out


@pytest.mark.parametrize("name", MAKERS)
def test_a_checkpoint_becomes_a_teacher(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    prefix = MAKERS[name](tmp_path / name)
    folder = pretrained(tmp_path / name, tmp_path / "pretrained")
    data = load_encoded(encoded(folder, tmp_path / "encoded", prefix), ["train"])
    model = EncoderForSequenceClassification.from_encoder(folder, CLASSES, "mean", data.vocabulary, dropout=0.0)
    batch = data.batch(np.arange(8), torch.device("cpu"))
    model.eval()
    output = model(batch.input_ids, batch.attention_mask, batch.token_type_ids, output_hidden_states=True)
    assert output.logits.shape == (8, CLASSES)
    assert len(output.hidden_states) == len(output.pooled) == LAYERS + 1
    assert torch.equal(output.pooled[-1], output.features), "the last states are those that are classified"
    assert data.vocabulary.hole_id is not None
    assert model.get_input_embeddings().num_embeddings >= data.vocabulary.size

    padded = torch.nn.functional.pad(batch.input_ids, (0, 5), value=data.vocabulary.pad_id)
    longer_mask = torch.nn.functional.pad(batch.attention_mask, (0, 5))
    longer = model(padded, longer_mask)
    assert torch.allclose(longer.logits, output.logits, atol=1e-5), "padding has no influence"

    if model.config.encoder.pad_token_id is None:
        other = model(padded.where(longer_mask > 0, 7), longer_mask)
        assert torch.allclose(other.logits, output.logits, atol=1e-5), "whatever token it is made of"

    model.save_pretrained(tmp_path / "saved")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", local_files_only=True).eval()
    assert torch.allclose(loaded(batch.input_ids, batch.attention_mask).logits, output.logits, atol=1e-6)
    assert "decoder" not in " ".join(name for name, _ in loaded.named_parameters())


@pytest.mark.parametrize("name", MAKERS)
def test_special_tokens_are_those_of_the_checkpoint(name: str, tmp_path: Path) -> None:
    """Wherever they are named; and every model has something to pad with and to put in the place of a word."""
    MAKERS[name](tmp_path / name)
    original = AutoTokenizer.from_pretrained(tmp_path / name)
    folder = pretrained(tmp_path / name, tmp_path / "pretrained")
    data = load_encoded(encoded(folder, tmp_path / "encoded", []), ["train"])
    row = data.tokens[: data.offsets[1]].tolist()
    for place, token in ((0, original.cls_token_id), (-1, original.sep_token_id)):
        assert token is None or row[place] == token
    assert data.vocabulary.pad_id == (original.eos_token_id if name == "gpt2" else original.pad_token_id)
    assert data.vocabulary.mask_id in (original.mask_token_id, original.unk_token_id, original.eos_token_id)
    torch.manual_seed(0)
    hidden = drop_words(data.batch(np.arange(4), torch.device("cpu")), 0.5, data.vocabulary)
    assert (hidden == data.vocabulary.mask_id).any()


@pytest.mark.parametrize(
    ("name", "limit"), [("unixcoder", 128), ("modernbert", 128), ("gpt2", 128), ("bert", 128), ("codet5", None)]
)
def test_no_more_tokens_than_the_model_has_positions(name: str, limit: int | None, tmp_path: Path) -> None:
    MAKERS[name](tmp_path / name)
    folder = pretrained(tmp_path / name, tmp_path / "pretrained")
    data = load_encoded(encoded(folder, tmp_path / "fits", [], max_length=128), ["train"])
    model = EncoderForSequenceClassification.from_encoder(folder, CLASSES, "mean", data.vocabulary, dropout=0.0)
    batch = data.batch(np.arange(len(data)), torch.device("cpu"))
    assert batch.input_ids.shape[1] == 128
    assert model(batch.input_ids, batch.attention_mask).logits.isfinite().all()
    if limit is None:
        encoded(folder, tmp_path / "long", [], max_length=129)
        return
    expected = rf"teachers\.long\.max_length is 129, but the model reads {limit} tokens: write `max_length: {limit}`"
    with pytest.raises(CodekdError, match=expected):
        encoded(folder, tmp_path / "long-129", [], max_length=129)


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "modernbert", "max_position_embeddings": 8192, "pad_token_id": 50283}, 8192),
        ({"model_type": "gpt2", "n_positions": 1024, "n_ctx": 1024}, 1024),
        ({"model_type": "t5", "n_positions": 512, "relative_attention_num_buckets": 32}, None),
        ({"model_type": "deberta-v2", "max_position_embeddings": 512, "position_biased_input": False}, None),
        ({"model_type": "qwen2", "max_position_embeddings": 32768, "rope_scaling": {"factor": 4.0}}, 131072),
        ({"model_type": "qwen2", "max_position_embeddings": 32768, "rope_scaling": None}, 32768),
        ({"model_type": "bloom"}, None),
    ],
)
def test_positions_of_published_models(config: dict[str, Any], limit: int | None) -> None:
    assert positions(config) == limit


def test_a_local_model_with_fewer_positions_is_refused_when_planned(tmp_path: Path) -> None:
    modernbert(tmp_path / "encoder")
    config = study(tmp_path)
    values = yaml.safe_load(config.read_text())
    teacher = {"source": {"folder": "encoder"}, "layers": LAYERS, "width": WIDTH, "prefix": []}
    adaptation = {"corpora": ["c"], "max_length": 129}
    pins = Path(__file__).parents[1] / "config" / "corpus" / "current.txt"
    for change, problem in (
        ({"max_length": 129}, "teachers.unixcoder.max_length is 129, but the model reads 128 tokens: write `max_l"),
        ({"max_length": 128}, ""),
        ({"max_length": 128, "adaptation": adaptation}, "teachers.unixcoder.adaptation.max_length is 129, but"),
    ):
        values |= {"teachers": {"unixcoder": teacher | change}, "corpora": {"c": {"pins": str(pins)}}}
        config.write_text(yaml.safe_dump(values))
        if problem:
            with pytest.raises(CodekdError, match=problem):
                graph_of(config)
        else:
            graph_of(config)


def test_unixcoder_reads_its_prefix_and_keeps_its_last_token(tmp_path: Path) -> None:
    prefix = unixcoder(tmp_path / "unixcoder")
    folder = pretrained(tmp_path / "unixcoder", tmp_path / "pretrained")
    rows = pq.read_table(encoded(folder, tmp_path / "encoded", prefix) / "train.parquet").to_pylist()
    words = json.loads((tmp_path / "unixcoder" / "vocab.json").read_text())
    start = [words[token] for token in ("<s>", "<encoder-only>", "</s>")]
    assert any(len(row["input_ids"]) == 64 for row in rows) and any(len(row["input_ids"]) < 64 for row in rows)
    for row in rows:
        assert row["input_ids"][:3] == start and row["input_ids"][-1] == words["</s>"]
        assert row["starts"][:3] == [-1, -1, -1] and row["starts"][3] == 0
    pairs = encoded(folder, tmp_path / "pairs", prefix, ("code_a", "code_b"))
    for row in pq.read_table(pairs / "train.parquet").to_pylist():
        assert row["input_ids"][row["second_start"] - 1] == row["input_ids"][-1] == words["</s>"]
        assert row["starts"][row["second_start"]] == 0 and len(row["input_ids"]) <= 64
    with pytest.raises(CodekdError, match="the tokenizer has no '<decoder-only>', which the teacher's `prefix` names"):
        encoded(folder, tmp_path / "wrong", ["<decoder-only>"])


def test_another_shape_than_the_config_says_is_refused(tmp_path: Path) -> None:
    modernbert(tmp_path / "modernbert")
    with pytest.raises(CodekdError, match=r"layers is 12, but the encoder has 3: write `layers: 3`"):
        pretrained(tmp_path / "modernbert", tmp_path / "out", layers=12)


def test_a_hole_that_would_be_another_token_is_refused(tmp_path: Path) -> None:
    modernbert(tmp_path / "modernbert")
    words = Tokenizer(WordLevel({"[UNK]": 0, "x": 9, "y": 3}, "[UNK]"))
    names = {"unk_token": "[UNK]", "pad_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(tmp_path / "modernbert")
    with pytest.raises(CodekdError, match=r"gives '.*' and '.*' the same number, 3"):
        pretrained(tmp_path / "modernbert", tmp_path / "out")


def test_a_model_of_no_text_is_refused(tmp_path: Path) -> None:
    modernbert(tmp_path / "modernbert")
    (tmp_path / "modernbert" / "config.json").write_text('{"model_type": "convnext"}')
    with pytest.raises(CodekdError, match="describes no model of text"):
        pretrained(tmp_path / "modernbert", tmp_path / "out")


def test_a_checkpoint_without_weights_is_told_so(tmp_path: Path) -> None:
    unixcoder(tmp_path / "unixcoder")
    (tmp_path / "unixcoder" / "model.safetensors").unlink()
    with pytest.raises(CodekdError, match=r"no weights: neither model\.safetensors nor pytorch_model\.bin"):
        pretrained(tmp_path / "unixcoder", tmp_path / "out")


@pytest.mark.parametrize(
    ("missing", "problem"),
    [(["config.json"], "has no config.json"), (["vocab.json", "merges.txt", "tokenizer_config.json"], "no tokenizer")],
)
def test_a_folder_that_is_no_checkpoint_is_told_what_is_missing(
    missing: list[str], problem: str, tmp_path: Path
) -> None:
    unixcoder(tmp_path / "unixcoder")
    for name in missing:
        (tmp_path / "unixcoder" / name).unlink()
    with pytest.raises(CodekdError, match=problem):
        pretrained(tmp_path / "unixcoder", tmp_path / "out")


def from_hub(out: Path) -> None:
    config = Config(source={"hub": "owner/encoder", "revision": "0" * 40}, layers=LAYERS, width=WIDTH)
    run_stage(
        "codekd.models.pretrained", out, {"origin": config.origin(), "trained": True, "layers": LAYERS, "width": WIDTH}
    )


def test_a_checkpoint_comes_from_the_hub_at_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modernbert(tmp_path / "modernbert")
    (tmp_path / "modernbert" / "README.md").write_text("not wanted")
    asked: dict[str, Any] = {}

    def snapshot(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(tmp_path / "modernbert")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    from_hub(tmp_path / "out")
    assert (asked["name"], asked["revision"]) == ("owner/encoder", "0" * 40)
    assert not any(name.endswith((".bin", ".pkl", ".py")) for name in asked["allow_patterns"])
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_without_the_hub_the_message_says_what_to_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> str:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(CodekdError, match=r"no network.*hf download owner/encoder --revision 0+ --local-dir PATH"):
        from_hub(tmp_path / "out")


def study(tmp_path: Path) -> Path:
    config = tmp_path / "study.yaml"
    grid = {"tasks": ["devign"], "teachers": ["unixcoder"], "students": ["bigru-7m"], "methods": ["kd"], "seeds": [1]}
    config.write_text(yaml.safe_dump({"name": "public", "grid": grid}))
    return config


def graph_of(config: Path) -> Graph:
    return Graph(load_study(yaml.safe_load(config.read_text()), [config]), config.parent / "results")


def test_the_lock_file_pins_what_comes_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from codekd.cli import app

    config = study(tmp_path)
    names = ["datasets/google/code_x_glue_cc_defect_detection@main", "models/microsoft/unixcoder-base@main"]
    before = graph_of(config)
    assert unpinned(before) == names

    class Hub:
        def repo_info(self, name: str, revision: str, repo_type: str) -> Any:
            assert revision == "main"
            return type("Info", (), {"sha": {"dataset": "d", "model": "e"}[repo_type] * 40})

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    result = CliRunner().invoke(app, ["lock", str(config)])
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(lock_file(config).read_text()) == {names[0]: "d" * 40, names[1]: "e" * 40}
    after = graph_of(config)
    assert unpinned(after) == []
    [examples] = after.stage("examples")
    assert examples.spec["task"]["source"]["revision"] == "d" * 40
    assert not set(before.by_folder) & set(after.by_folder)
    lock_file(config).write_text("[1, 2]")
    with pytest.raises(CodekdError, match="must map names to commits"):
        graph_of(config)


def test_local_files_need_no_lock(tmp_path: Path) -> None:
    config = study(tmp_path)
    values = yaml.safe_load(config.read_text())
    unixcoder(tmp_path / "encoder")
    rows = [{"project": "p", "target": n % 2, "func": f"int f{n};", "idx": n} for n in range(3)]
    (tmp_path / "data").mkdir()
    for number, part in enumerate(("train", "valid", "test")):
        (tmp_path / "data" / f"{part}.jsonl").write_text(json.dumps(rows[number]))
    values["tasks"] = {"devign": {"source": {"folder": "data"}}}
    shape = {"layers": LAYERS, "width": WIDTH, "max_length": 128}
    values["teachers"] = {"unixcoder": {"source": {"folder": "encoder"}, **shape}}
    config.write_text(yaml.safe_dump(values))
    graph = graph_of(config)
    assert unpinned(graph) == []
    [node] = graph.stage("pretrained")
    assert "file/model.safetensors/0" in node.files and str(tmp_path) not in str(node.spec)
    shutil.move(tmp_path / "encoder", tmp_path / "moved")
    with pytest.raises(CodekdError, match=r"teachers\.unixcoder: .*encoder is no checkpoint"):
        graph_of(config)
