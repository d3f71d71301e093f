"""What is said before a study runs is what there is afterwards."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from data_stages import FINE_TUNED, code_columns, make_node, run_stage
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BertConfig
from typer.testing import CliRunner

from codekd.cli import app
from codekd.data.batches import load_encoded
from codekd.data.hashing import digest
from codekd.data.splits import SHARD_ROWS, SPLITS
from codekd.errors import CodekdError
from codekd.models.architectures.roberta import Config as RoBERTa
from codekd.models.teachers import wheel
from codekd.signals import logits, pooled, relations, structure
from codekd.signals.base import UNITS_OF_SYNTAX, TeacherShape
from codekd.signals.format import read_signal
from codekd.study import estimate, sizes
from codekd.study.defaults import with_defaults
from codekd.study.graph import Graph, Node
from codekd.study.manifest import MANIFEST, write_manifest
from codekd.study.rates import WITH_BF16, WITHOUT, Rates, measured
from codekd.study.resolve import load_study

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config" / "config.yaml"
TEACHER = RoBERTa(kind="roberta", vocabulary_size=400, max_length=48, layers=3, hidden=32, heads=4)
CLASSES = [f"class {number}" for number in range(7)]


# What a small teacher leaves on the disk.


def write_examples(columns):
    """Functions of this project under ids as long as real ones; every split fills a shard."""

    def run(job, folder):
        for split in SPLITS:
            frame = pl.DataFrame(code_columns(columns, SHARD_ROWS)).with_columns(
                id=pl.Series([digest(split, str(row)) for row in range(SHARD_ROWS)]),
                label=pl.lit(-1 if split == "unlabeled" else 1, dtype=pl.Int32),
                group=pl.lit("g"),
            )
            frame.write_parquet(folder / f"{split}.parquet")
        return {split: {"examples": SHARD_ROWS} for split in SPLITS}

    return run


def save_teacher(job, folder):
    torch.manual_seed(0)
    vocabulary = load_encoded(job.parents["encoded"], ["valid"]).vocabulary
    TEACHER.build(vocabulary, job.spec["classes"], job.spec["pooling"]).save_pretrained(folder)
    return {}


class Made:
    """Nodes of one task that are made as they are asked for."""

    def __init__(self, results, columns):
        self.results = results
        self.pooled_width = TEACHER.hidden * len(columns)
        examples = self.make("examples", {}, run=write_examples(columns))
        spec = {"size": TEACHER.vocabulary_size, "columns": {"task": columns}}
        tokenizer = self.make("tokenizers", spec, "codekd.data.bpe", {"examples/task": examples})
        spec = {
            "max_length": TEACHER.max_length,
            "prefix": [],
            "classes": CLASSES,
            "columns": columns,
            "has_hole": False,
        }
        encoded = self.make("encoded", spec, "codekd.data.encode", {"examples": examples, "tokenizer": tokenizer})
        shape = {"layers": TEACHER.layers, "width": TEACHER.hidden}
        pretrained = self.make("pretrained", shape, run=lambda job, folder: {})
        spec = {"classes": len(CLASSES), "pooling": "mean" if len(columns) == 1 else "pair"}
        teacher = self.make("teachers", spec, parents={"encoded": encoded, "pretrained": pretrained}, run=save_teacher)
        spec = {"columns": columns, "language": "python"}
        syntax = self.make("syntax", spec, "codekd.data.lexemes", {"examples": examples})
        self._parents = {"encoded": encoded, "teacher": teacher, "syntax": syntax}

    def make(self, stage, spec, entry="codekd.errors", parents=None, run=None):
        node = Node(stage, ("task", "teacher"), spec, (entry,), parents or {})
        make_node(self.results, node, run, together=stage == "signals")
        return node

    def capture(self, signal):
        parents = {
            role: node for role, node in self._parents.items() if role != "syntax" or signal.unit in UNITS_OF_SYNTAX
        }
        return self.make(
            "signals", FINE_TUNED | {"signal": signal.model_dump(mode="json")}, "codekd.signals.capture", parents
        )


@pytest.fixture(scope="module", params=[["code"], ["code_a", "code_b"]], ids=["code", "pair"])
def made(request, tmp_path_factory):
    return Made(tmp_path_factory.mktemp("results"), request.param)


SIGNALS = [
    logits.Config(),
    pooled.Config(),
    relations.Config(units="lexeme", window=3, layers=2),
    relations.Config(units="token", window=2, layers=3),
    structure.Config(layers=3),
]


@pytest.mark.parametrize("signal", SIGNALS, ids=[signal.name for signal in SIGNALS])
def test_a_signal_takes_the_bytes_that_were_foretold(made, signal, monkeypatch):
    node = made.capture(signal)
    folder = made.results / node.folder
    true = sum(path.stat().st_size for path in folder.glob("*.parquet"))
    assert sizes.signal_bytes(node, made.results) == true, "what is made is counted"

    ids = [digest(split, str(row)) for split in signal.splits for row in range(SHARD_ROWS)]
    values = read_signal(folder, signal.splits, signal.kind, ids).values
    shape = TeacherShape(len(CLASSES), TEACHER.layers, made.pooled_width, TEACHER.hidden)
    assert values.nbytes == len(values) * signal.row_bytes(shape)

    (folder / MANIFEST).unlink()
    encoded = sizes.split_sizes(node.parents["encoded"], made.results)
    tokens = sum(encoded[split].tokens for split in signal.splits)
    monkeypatch.setattr(sizes, "UNITS_PER_TOKEN", dict.fromkeys(UNITS_OF_SYNTAX, len(values) / tokens))
    assert sizes.signal_bytes(node, made.results) == pytest.approx(true, rel=0.01)


# What a study is said to take.


def graph(**changes):
    """The default study with definitions changed and with methods on every signal."""
    config = copy.deepcopy(yaml.safe_load(CONFIG.read_text()))
    config["grid"]["methods"] = ["ft", "kd", "pkd", "ckd", "ckd-paper"]
    for section, definitions in changes.items():
        for name, definition in definitions.items():
            config.setdefault(section, {}).setdefault(name, {}).update(definition)
    return Graph(load_study(config, [CONFIG]))


def signal_of(graph, *coordinates):
    [node] = [node for node in graph.stage("signals") if node.coordinates == coordinates]
    return node


def leave(results, node, summary=None, files=None):
    """A node's manifest, as a finished stage leaves it."""
    folder = results / node.folder
    folder.mkdir(parents=True)
    write_manifest(folder, {"summary": summary, "files": files or {}})


def test_examples_and_tokens_are_estimated_from_the_limits_until_they_are_made(tmp_path):
    limits = {"train": 300, "valid": None, "test": 10**6, "unlabeled": 0}
    study = graph(tasks={"exception": {"examples": limits}})
    encoded = signal_of(study, "exception", "minilm", "logits").parents["encoded"]
    window = encoded.spec["max_length"]
    expected = {"train": 300, "valid": sizes.EXAMPLES["valid"], "test": sizes.EXAMPLES["test"], "unlabeled": 0}
    estimated = sizes.split_sizes(encoded, tmp_path)
    assert {split: size.examples for split, size in estimated.items()} == expected
    assert estimated["train"].tokens == 300 * window

    leave(tmp_path, encoded.parents["examples"], {split: {"examples": 7} for split in SPLITS})
    assert set(sizes.split_sizes(encoded, tmp_path).values()) == {sizes.Size(7, 7 * window)}
    leave(tmp_path, encoded, {split: {"examples": 5, "tokens": 99} for split in SPLITS})
    assert set(sizes.split_sizes(encoded, tmp_path).values()) == {sizes.Size(5, 99)}


def test_a_window_is_no_longer_than_what_there_is_to_see():
    for task, pieces in (("exception", 1), ("clone", 2)):
        node = signal_of(graph(tasks={task: {"max_length": 400}}), task, "minilm", "logits")
        test = sizes.split_sizes(node.parents["encoded"], Path())["test"]
        assert test.tokens == test.examples * sizes.TOKENS[pieces]


def test_a_student_of_lexemes_reads_fewer_of_them_than_tokens_and_of_each_side_its_window():
    study = graph(students={"conv-0.5m": {"vocabulary_size": None, "lexemes": {}}})
    for task, pieces in (("exception", 1), ("clone", 2)):
        [encoded] = [node for node in study.stage("encoded") if node.coordinates == (task, "lexemes-128")]
        test = sizes.split_sizes(encoded, Path())["test"]
        per_example = min(128 * pieces, round(sizes.UNITS_PER_TOKEN["lexeme"] * sizes.TOKENS[pieces]))
        assert test.tokens == test.examples * per_example
        [cell] = [node for node in study.stage("students") if node.path.startswith(f"students/{task}/none/conv")]
        assert 0 < estimate.seconds(cell, Path()) < 3600


def test_there_are_no_more_lexemes_in_the_windows_than_in_the_code(tmp_path):
    node = signal_of(graph(), "exception", "minilm", "relations-lexeme-w10-l2")
    leave(tmp_path, node.parents["encoded"], {split: {"examples": 10, "tokens": 900} for split in SPLITS})
    row = 2 * (2 * 30 + 2)
    beside = 20 * (sizes.FILE_BYTES + sizes.UNIT_FILE_BYTES + sizes.PIECE_FILE_BYTES)
    shown = round(1800 * sizes.UNITS_PER_TOKEN["lexeme"])
    assert sizes.signal_bytes(node, tmp_path) == beside + shown * row
    leave(tmp_path, node.parents["syntax"], {split: {"lexemes": 500} for split in SPLITS})
    assert sizes.signal_bytes(node, tmp_path) == beside + 1000 * row


def test_a_deeper_and_wider_teacher_is_slower_and_its_states_larger():
    small, large = (
        graph(teachers={"minilm": {"layers": layers, "width": width}}) for layers, width in ((6, 384), (12, 1152))
    )
    examples = sizes.signal_examples(signal_of(small, "clone", "minilm", "pooled"), Path())
    for teacher, states in ((small, 7 * 2 * 384), (large, 13 * 2 * 1152)):
        node = signal_of(teacher, "clone", "minilm", "pooled")
        assert sizes.signal_bytes(node, Path()) == examples * (sizes.FILE_BYTES + 2 * states), "a pair has two sides"
    times = [
        estimate.seconds(node, Path()) - estimate.START
        for study in (small, large)
        for node in (study.stage("teachers")[0], study.stage("signals")[0])
    ]
    np.testing.assert_allclose(np.divide(times[2:], times[:2]), 2 * 3**2)


def test_unlabelled_examples_take_the_time_of_labelled_ones_and_evaluation_a_third():
    study = graph(tasks={"defect": {"examples": dict.fromkeys(SPLITS, 1000)}})
    times = {
        node.coordinates[3]: estimate.seconds(node, Path()) - estimate.START
        for node in study.stage("students")
        if node.coordinates[0] == "defect" and node.coordinates[2] == "conv-0.5m"
    }
    assert times["kd"] / times["ft"] == pytest.approx((4 * (3 + 3 + 1) + 1) / (4 * (3 + 1) + 1))


def test_the_shape_of_a_teacher_is_in_the_spec_of_its_pretrained_node_alone():
    specs = [
        {(node.stage, node.coordinates): node.spec for node in study}
        for study in (graph(), graph(teachers={"minilm": {"layers": 7, "width": 80}}))
    ]
    assert {key for key in specs[0] if specs[0][key] != specs[1][key]} == {("pretrained", ("minilm",))}


@pytest.mark.parametrize(("declared", "problem"), [({"layers": 5}, "5, but .* has 3"), ({"width": 64}, "64, .* 32")])
def test_a_pretrained_encoder_of_another_shape_is_refused(tmp_path, monkeypatch, declared, problem):
    def obtain(origin, files, folder):
        BertConfig(hidden_size=32, num_hidden_layers=3, num_attention_heads=4).save_pretrained(folder)
        Tokenizer(WordLevel({"a": 0}, "a")).save(str(folder / "tokenizer.json"))

    monkeypatch.setattr(wheel, "obtain", obtain)
    spec = {"origin": {"kind": "wheel"}, "trained": True, "layers": 3, "width": 32}
    run_stage("codekd.models.pretrained", tmp_path / "right", spec)
    with pytest.raises(CodekdError, match=rf"teachers.wrong.{next(iter(declared))} is {problem}"):
        run_stage("codekd.models.pretrained", tmp_path / "wrong", spec | declared)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (80, "80 B"),
        (999, "999 B"),
        (7_740, "7.7 kB"),
        (9_960, "10 kB"),
        (999_600, "1.0 MB"),
        (2.1e9, "2.1 GB"),
    ],
)
def test_bytes_are_written_in_decimal_units(count, text):
    assert sizes.in_bytes(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(15, "15 s"), (100, "2 min"), (6 * 3600, "6 h")])
def test_durations_are_written_in_one_unit(seconds, text):
    assert estimate.in_time(seconds) == text


def test_the_line_at_the_start_ends_with_the_size_of_the_signals_to_capture(tmp_path):
    study = graph()
    nodes = study.stage("signals")
    all_of_them = sum(sizes.signal_bytes(node, tmp_path) for node in nodes)
    assert estimate.describe(list(study), 2, tmp_path).endswith(
        f" on others, and {sizes.in_bytes(all_of_them)} of signals."
    )
    leave(tmp_path, nodes[0].parents["encoded"], {split: {"examples": 5, "tokens": 99} for split in SPLITS})
    assert estimate.describe(nodes[:1], 2, tmp_path).endswith(" units, and 2.3 kB of signals.")
    assert estimate.describe(study.stage("corpus"), 2, tmp_path).endswith(" units.")
    assert estimate.describe([], 2, tmp_path) == "nothing to make."


def plan(*arguments):
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


def write_config(folder, **changes):
    """A study of one cell a method in a file of its own."""
    config = yaml.safe_load(CONFIG.read_text().replace("corpus/", f"{CONFIG.parent}/corpus/"))
    config["grid"] = {
        "tasks": ["exception", "defect"],
        "teachers": ["minilm"],
        "students": ["bigru-1.5m"],
        "methods": ["ft", "kd"],
        "seeds": [1],
        **changes,
    }
    config["tasks"] = {task: {"examples": dict.fromkeys(SPLITS, 1000)} for task in ("exception", "defect")}
    path = folder / "my.yaml"
    path.write_text(yaml.safe_dump(config | {"name": "mine", "teachers": {"other": {"preset": "minilm"}}}))
    return path


def test_a_plan_names_stages_signals_and_totals(tmp_path):
    config = write_config(tmp_path)
    study = Graph(load_study(yaml.safe_load(config.read_text()), [config]))
    captured = signal_of(study, "defect", "minilm", "logits")
    leave(tmp_path, captured, files={"train-00000.parquet": {"size": 900_000}, "test-00000.parquet": {"size": 100_000}})
    found = plan(config, "--results", tmp_path, "--cores", 2)
    assert found.exit_code == 0
    lines = [line.split() for line in found.stdout.splitlines()]
    time = estimate.in_time(sum(estimate.seconds(node, tmp_path) for node in study.stage("teachers")) / 2)
    assert ["teachers", "2", "2", *time.split()] in lines
    [other] = [one for one in study.stage("signals") if one is not captured]
    time = estimate.in_time(estimate.seconds(other, tmp_path) / 2)
    assert ["signals", "2", "1", *time.split()] in lines
    assert ["exception/minilm/logits", "4,000", "117", "B", "468", "kB", "to", "make"] in lines
    assert ["defect/minilm/logits", "4,000", "250", "B", "1.0", "MB", "made"] in lines
    assert ["total", "1.5", "MB"] in lines
    todo = estimate.missing(study, tmp_path)
    assert len(todo) == len(list(study)) - 1
    assert found.stdout.splitlines()[-1] == f"mine: {estimate.describe(todo, 2, tmp_path)}"


def test_a_finished_study_has_nothing_to_make(tmp_path):
    config = write_config(tmp_path)
    for node in Graph(load_study(yaml.safe_load(config.read_text()), [config])):
        summary = {split: {"examples": 5, "tokens": 99} for split in SPLITS}
        leave(tmp_path, node, summary, {"a": {"size": 2000}})
    found = plan(config, "--results", tmp_path)
    assert found.stdout.endswith("\nmine: nothing to make.\n")
    assert found.stdout.count("to make") == 2


def test_what_cannot_be_planned_is_said_in_one_paragraph(tmp_path):
    config = tmp_path / "my.yaml"
    config.write_text("name: a\ncolour: red\n")
    for path, problem in ((tmp_path / "no.yaml", "no.yaml"), (config, "line 2: colour: unknown key")):
        found = plan(path)
        assert (found.exit_code, found.stdout) == (1, "")
        assert problem in found.stderr
        assert isinstance(found.exception, SystemExit)


def test_a_manifest_that_cannot_be_read_is_named(tmp_path):
    node = graph().stage("examples")[0]
    leave(tmp_path, node)
    (tmp_path / node.folder / MANIFEST).write_text("{")
    found = plan(CONFIG, "--results", tmp_path)
    assert found.exit_code == 1
    assert f"{tmp_path / node.folder} is not a finished node" in found.stderr


def test_a_paper_sized_study_is_planned_without_heavy_imports(tmp_path):
    students = yaml.safe_load((ROOT / "src/codekd/presets/students.yaml").read_text())
    path = write_config(
        tmp_path,
        tasks=["exception", "clone", "defect"],
        teachers=["minilm", "other"],
        students=list(students),
        methods=["ft", "kd", "dist", "pkd", "ckd"],
        seeds=[1, 2, 3, 4, 5],
    )
    config = yaml.safe_load(path.read_text())
    config["teachers"] = {name: {"preset": "minilm", "layers": 12, "width": 768} for name in ("minilm", "other")}
    del config["students"]
    path.write_text(yaml.safe_dump(config))
    script = (
        "import sys; from codekd.cli import app;"
        f"app(['plan', {str(path)!r}, '--results', {str(tmp_path)!r}], standalone_mode=False);"
        "heavy = {'torch', 'transformers', 'numpy', 'polars', 'pyarrow', 'sklearn', 'tokenizers', 'datasets'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    cells = len(students) * 3 * (1 + 2 * 4) * 5
    assert f"students     {cells}     {cells}" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_papers_grid_is_planned_from_its_definitions_alone(tmp_path):
    config = Path(__file__).parents[1] / "config" / "paper.yaml"
    arguments = ["plan", str(config), "--results", str(tmp_path / "results"), "--gpu-tflops", "50"]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.output
    hours = re.search(r"On GPUs that reach 50 TFLOP/s: about ([\d,]+) hours of one GPU", found.stdout)
    assert 10 < int(hours[1].replace(",", "")) < 2000
    assert "1080 students" in found.stdout and re.search(r"total +\d+ GB", found.stdout)
    study = Graph(load_study(yaml.safe_load(config.read_text()), [config]))
    [clone] = [node for node in study.stage("examples") if node.coordinates == ("clone",)]
    counts = {split: size.examples for split, size in sizes.split_sizes(encoded_of(study, "clone"), tmp_path).items()}
    assert counts == {"train": 90103, "valid": 41542, "test": 415416, "unlabeled": 0}
    assert with_defaults(clone.spec)["task"]["share"] == 0.1


def encoded_of(study, task):
    return next(node for node in study.stage("encoded") if node.coordinates[0] == task)


def test_gpu_hours_are_those_of_the_work_at_a_throughput(tmp_path):
    study = graph()
    slow, fast = (estimate.gpu_hours(study, tmp_path, rate) for rate in (1e12, 1e13))
    overhead = estimate.gpu_hours(study, tmp_path, 1e30)
    assert (slow - overhead) == pytest.approx(10 * (fast - overhead))


def test_speed_is_measured_with_nothing_beside_it(tmp_path):
    study = Graph(load_study(yaml.safe_load(CONFIG.read_text()), [CONFIG]), tmp_path)
    measured, floors = study.stage("inference"), study.stage("floors")
    alone = len(measured) * estimate.SECONDS["inference"]
    assert estimate.wall_seconds(measured, tmp_path, 4) == estimate.wall_seconds(measured, tmp_path, 1) == alone > 0
    beside = len(floors) * estimate.SECONDS["floors"] / 4
    assert estimate.wall_seconds([*measured, *floors], tmp_path, 4) == alone + beside


def test_cores_without_bf16_units_take_as_long_for_states_and_longer_for_training_and_logits(tmp_path):
    study = graph()
    by_path = {node.path: node for node in study}
    times = {
        path: [estimate.seconds(by_path[path], tmp_path, rate) - estimate.START for rate in (WITH_BF16, WITHOUT)]
        for path in ("teachers/defect/minilm", "signals/defect/minilm/logits", "signals/defect/minilm/pooled")
    }
    ratios = {path.split("/")[-1]: longer / shorter for path, (shorter, longer) in times.items()}
    assert ratios["minilm"] == pytest.approx(WITH_BF16.transformers / WITH_BF16.float32)
    assert ratios["pooled"] == 1
    assert 1 < ratios["logits"] < estimate.FASTER_IN_BF16, "of labelled examples they are in float32"
    logits = estimate.seconds(by_path["signals/defect/minilm/logits"], tmp_path)
    one_pass = [one for one in study.stage("signals") if one.coordinates[0] == "defect"]
    assert estimate.total_seconds(one_pass, tmp_path) == logits
    assert estimate.total_seconds(one_pass[::-1], tmp_path) == logits


def test_rows_of_ones_own_tables_are_counted_once(tmp_path, monkeypatch):
    (tmp_path / "mine.csv").write_text("code,label\n" + '"int f(void) {\n  return 1;\n}",no\n' * 300)
    (tmp_path / "more.jsonl").write_text('{"code": "int g;"}\n' * 50)
    files = {"all": "mine.csv", "unlabeled": "more.jsonl"}
    config = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    config["grid"]["tasks"] = ["mine"]
    config["tasks"] = {"mine": {"kind": "table", "files": files, "language": "c", "classes": ["no", "yes"]}}
    config["vocabularies"] = {"mine": ["mine"]}
    for place in ("current", "previous"):
        config["corpora"][place]["pins"] = str(ROOT / "config" / config["corpora"][place]["pins"])
    config["split"] = str(ROOT / "config" / config["split"])

    def counted():
        graph = Graph(load_study(config, [tmp_path / "mine.yaml"]), tmp_path / "results")
        sizes_of = sizes.split_sizes(encoded_of(graph, "mine"), tmp_path / "results")
        return {split: size.examples for split, size in sizes_of.items()}

    assert counted() == {"train": 240, "valid": 30, "test": 30, "unlabeled": 50}
    monkeypatch.setattr("codekd.study.rows._rows", None)
    assert counted() == {"train": 240, "valid": 30, "test": 30, "unlabeled": 50}, "remembered"
    config["tasks"]["mine"]["examples"] = {"train": 100, "unlabeled": 10}
    assert counted() == {"train": 100, "valid": 30, "test": 30, "unlabeled": 10}


def test_a_plan_knows_how_fast_this_machine_was_measured_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr("codekd.models.throughput.SECONDS", 0.05)
    config = str(ROOT / "config/smoke.yaml")
    arguments = ["plan", config, "--results", str(tmp_path), "--cores", "2"]
    assert "that have bf16 units" in CliRunner().invoke(app, arguments).stdout
    done = CliRunner().invoke(app, [*arguments, "--measure"])
    assert done.exit_code == 0 and "on 2 CPU cores of this machine" in done.stdout, done.output
    found = measured(tmp_path)
    assert found.transformers >= found.float32 > 1e9
    assert done.stdout == CliRunner().invoke(app, arguments).stdout, "remembered"
    graph = Graph(load_study(yaml.safe_load((ROOT / "config/smoke.yaml").read_text()), [ROOT / "config/smoke.yaml"]))
    [node, *_] = graph.stage("teachers")
    slow, fast = (estimate.seconds(node, tmp_path, Rates(rate, rate)) - estimate.START for rate in (1e9, 4e9))
    assert slow == pytest.approx(4 * fast)
