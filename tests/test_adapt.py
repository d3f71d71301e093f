"""Masked-language-model training of an encoder on code, before any task."""

import copy
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import yaml
from data_stages import code_columns, run_stage
from safetensors.torch import load_file
from test_checkpoints import LAYERS, WIDTH, gpt2, modernbert, pretrained

from codekd.errors import CodekdError
from codekd.models.encoder import EncoderForSequenceClassification
from codekd.models.vocabulary import read_vocabulary
from codekd.study.graph import Graph
from codekd.study.resolve import load_study

PACKAGES = {"docker": "train", "psutil": "transfer", "traitlets": "valid"}
ADAPTATION = {"max_length": 48, "training": {"epochs": 20, "learning_rate": 1e-2, "word_dropout": 0.3}}


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small encoder, and functions of four packages, one of which is for tests."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("adapt")
    modernbert(folder / "modernbert")
    pretrained(folder / "modernbert", folder / "pretrained")
    code = code_columns(["code"], 160)["code"]
    packages = [[*PACKAGES, "redis"][row % 4] for row in range(160)]
    (folder / "corpus").mkdir()
    pl.DataFrame({"package": packages, "code": code}).write_parquet(folder / "corpus" / "functions.parquet")
    return {"pretrained": folder / "pretrained", "corpus/current": folder / "corpus"}


def adapt(parents: dict[str, Path], out: Path, **settings: Any) -> dict[str, Any]:
    (out.parent / "scratch" / out.name).mkdir(parents=True, exist_ok=True)
    spec = {"adaptation": ADAPTATION | settings, "packages": PACKAGES, "layers": LAYERS, "width": WIDTH}
    return run_stage("codekd.training.adapt", out, spec, parents)


def test_functions_longer_than_the_encoder_reads_are_refused(parents: dict[str, Path], tmp_path: Path) -> None:
    expected = r"^teachers.adapted.adaptation.max_length is 129, but .* 128 tokens: write `max_length: 128`"
    with pytest.raises(CodekdError, match=expected):
        adapt(parents, tmp_path / "adapted", max_length=129)


def test_a_model_without_a_mask_is_adapted(parents: dict[str, Path], tmp_path: Path) -> None:
    gpt2(tmp_path / "gpt2")
    folder = pretrained(tmp_path / "gpt2", tmp_path / "pretrained")
    training = {"epochs": 1, "learning_rate": 1e-2, "word_dropout": 0.3}
    summary = adapt(parents | {"pretrained": folder}, tmp_path / "adapted", training=training, functions=16)
    assert 0 <= summary["valid_accuracy"] <= 1


def test_it_learns_to_guess_and_leaves_a_checkpoint_for_a_teacher(parents: dict[str, Path], tmp_path: Path) -> None:
    summary = adapt(parents, tmp_path / "adapted")
    read = pl.read_parquet(parents["corpus/current"] / "functions.parquet")
    read = read.filter(pl.col("package").is_in(["docker", "psutil"]))["code"].unique()
    assert summary["functions"] == len(read), "of packages of train and transfer alone"
    history = pl.read_parquet(tmp_path / "adapted" / "history.parquet")
    assert history["loss"][-1] < history["loss"][0]
    vocabulary = read_vocabulary(tmp_path / "adapted")
    assert summary["valid_accuracy"] == max(history["valid_accuracy"]) > 10 / vocabulary.size, "ten times chance"
    model = EncoderForSequenceClassification.from_encoder(tmp_path / "adapted", 2, "hole", vocabulary)
    assert model.get_input_embeddings().num_embeddings == vocabulary.size
    before, after = (load_file(path / "model.safetensors") for path in (parents["pretrained"], tmp_path / "adapted"))
    assert before.keys() == after.keys(), "the head that guesses is thrown away"
    assert not any(torch.equal(before[name], after[name]) for name in before if name.endswith("Wqkv.weight"))


def test_the_same_seed_gives_the_same_bytes(parents: dict[str, Path], tmp_path: Path) -> None:
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        adapt(parents, tmp_path / name, functions=32, seed=seed)
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def graph(**teacher: Any) -> Graph:
    path = Path(__file__).parents[1] / "config" / "two-teachers.yaml"
    config = copy.deepcopy(yaml.safe_load(path.read_text()))
    config["teachers"]["minilm-code"] |= teacher
    return Graph(load_study(config, [path]))


def test_the_adapted_encoder_is_a_node_of_its_own_and_reads_no_package_for_tests() -> None:
    study = graph()
    [node] = study.stage("adapted")
    assert {role.split("/")[0] for role in node.parents} == {"pretrained", "corpus"}
    assert set(node.spec["packages"].values()) <= {"train", "valid", "transfer"}
    teachers = {one.coordinates[1]: one for one in study.stage("teachers")}
    assert teachers["minilm-code"].parents["pretrained"] is node
    assert teachers["minilm"].parents["pretrained"].stage == "pretrained"
    changed = graph(adaptation={"functions": 10, "training": {"epochs": 1}})
    renamed = {name.split("/")[0] for name in set(changed.by_folder) - set(study.by_folder)}
    assert renamed == {"adapted", "teachers", "signals", "verified", "students", "report"}
    assert not any("/minilm/" in name for name in set(changed.by_folder) - set(study.by_folder))


def test_masking_nothing_is_refused() -> None:
    with pytest.raises(CodekdError, match="`word_dropout` must be more than 0"):
        graph(adaptation={"training": {"epochs": 1, "word_dropout": 0.0}})
