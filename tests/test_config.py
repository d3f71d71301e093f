"""A config is checked as a whole; messages name file, line, key and the nearest valid name."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from codekd.errors import CodekdError
from codekd.study.graph import Graph
from codekd.study.resolve import load_study
from codekd.study.schema import json_schema, reference

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config" / "config.yaml"


@pytest.fixture
def write(tmp_path):
    """Write the default config with some text replaced, and sections of others; corpora stay where they are."""

    def write_config(*replacements, extra=""):
        text = CONFIG.read_text().replace("corpus/", f"{ROOT}/config/corpus/")
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        for section in yaml.safe_load(extra) or {}:
            text = re.sub(rf"^{section}:.*\n(?:[ #].*\n)*", "", text, flags=re.MULTILINE)
        path = tmp_path / "my.yaml"
        path.write_text(text + extra)
        return path

    return write_config


def load(path):
    return load_study(yaml.safe_load(path.read_text()), [path])


def problem(path):
    with pytest.raises(CodekdError) as error:
        load(path)
    return str(error.value)


def line_of(path, text):
    return next(number for number, line in enumerate(path.read_text().splitlines(), start=1) if text in line)


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "config").glob("*.yaml")))
def test_every_config_that_ships_is_valid(name):
    graph = Graph(load(ROOT / "config" / name))
    assert graph.report.parents


@pytest.mark.parametrize(("section", "name"), [("methods", "all"), ("teachers", "none"), ("students", "name")])
def test_names_that_reports_use_are_refused(write, section, name):
    definition = {"methods": "preset: kd", "teachers": "preset: minilm", "students": "preset: bigru-7m"}[section]
    found = problem(write(extra=f"{section}: {{{name}: {{{definition}}}}}\n"))
    assert f"{section}.{name}: reports use this name for something else; choose another one" in found


def test_overriding_one_number_of_a_preset_is_one_line(write):
    study = load(write(extra="methods: {kd: {temperature: 7}}\n"))
    assert study.methods["kd"].temperature == 7.0
    assert study.methods["kd"].alpha == load(CONFIG).methods["kd"].alpha


def test_a_new_definition_builds_on_a_preset(write):
    study = load(
        write(
            ("methods: [ft, pseudo, kd, dist, pkd, ckd]", "methods: [ft, kd-hot]"),
            extra="methods: {kd-hot: {preset: kd, temperature: 10}}\n",
        )
    )
    assert study.methods["kd-hot"].temperature == 10.0
    assert study.methods["kd-hot"].kind == "kd"


def test_training_numbers_of_the_study_go_below_those_of_a_student(write):
    path = write(
        ("\ntraining: {", "\ntraining: {clip: 0.5, "),
        extra="students: {bigru-1.5m: {}, lexical-0.7m: {training: {clip: 2.0}}}\n",
    )
    study = load(path)
    assert study.students["conv-0.5m"].training.clip == 0.5
    assert study.students["lexical-0.7m"].training.clip == 2.0


def test_a_number_may_be_written_as_yaml_reads_it_as_text(write):
    path = write(extra="students: {bigru-1.5m: {training: {learning_rate: 5e-5}}}\n")
    assert yaml.safe_load(path.read_text())["students"]["bigru-1.5m"]["training"]["learning_rate"] == "5e-5"
    assert load(path).students["bigru-1.5m"].training.learning_rate == 5e-5


BAD = [
    (
        "a vocabulary that is called like a task of another one",
        [],
        "vocabularies: {defect: [exception, clone]}\n",
        "vocabularies.defect: a task is called so, whose own vocabulary would have this name: add defect",
    ),
    (
        "a task with two vocabularies",
        [],
        "vocabularies: {first: [exception, clone], second: [defect, clone]}\n",
        "vocabularies.second.1: clone has the vocabulary first already; keep one",
    ),
    ("unknown key", [("seeds:", "seed:")], "", "grid.seed: unknown key; did you mean 'seeds'?"),
    (
        "misspelt method",
        [("[ft, pseudo, kd, dist, pkd, ckd]", "[ft, pseudo, kd, dits, pkd, ckd]")],
        "",
        "there is no 'dits'; did you mean 'dist'?",
    ),
    (
        "misspelt student",
        [("conv-0.5m]", "conv-05m]")],
        "",
        "there is no 'conv-05m'; did you mean 'conv-0.5m'?",
    ),
    ("misspelt task", [("[exception, clone", "[exceptions, clone")], "", "did you mean 'exception'?"),
    ("misspelt teacher", [("[minilm]", "[minilmm]")], "", "did you mean 'minilm'?"),
    ("empty grid", [("[minilm]", "[]")], "", "grid.teachers: list should have at least 1 item"),
    ("wrong type", [("seeds: [1]", "seeds: [one]")], "", "grid.seeds.0: input should be a valid integer"),
    ("a seed twice", [("seeds: [1]", "seeds: [1, 2, 1]")], "", "grid.seeds: 1 stands there twice"),
    (
        "a text for a number",
        [],
        "methods: {kd: {temperature: warm}}\n",
        "methods.kd.temperature: input should be a valid number",
    ),
    (
        "out of range",
        [],
        "methods: {kd: {alpha: 1.5}}\n",
        "methods.kd.alpha: input should be less than or equal to 1",
    ),
    (
        "key of a method",
        [],
        "methods: {kd: {temprature: 3}}\n",
        "temprature: unknown key; did you mean 'temperature'?",
    ),
    (
        "training key",
        [],
        "students: {bigru-1.5m: {training: {epoch: 3}}}\n",
        "unknown key; did you mean 'epochs'?",
    ),
    (
        "weights of classes",
        [],
        "training: {class_weights: {clean: 0}}\n",
        "class_weights: write `balanced`, or for each class a number from 0.001 to 1000",
    ),
    ("layers do not fit", [], "students: {roberta-1.5m: {heads: 5}}\n", "heads (5) must divide hidden (192)"),
    (
        "no kind",
        [],
        "students: {tiny: {layers: 1}}\n",
        "needs `preset: NAME` or `kind:` (one of bigru, conv, roberta)",
    ),
    (
        "unknown kind",
        [],
        "students: {tiny: {kind: lstm}}\n",
        "there is no kind 'lstm'; known kinds are bigru, conv, roberta",
    ),
    (
        "unknown preset",
        [],
        "students: {tiny: {preset: bigru}}\n",
        "there is no 'bigru'; did you mean 'bigru-7m'?",
    ),
    ("no name of a preset", [], "methods: {kd: {preset: {a: 1}}}\n", "methods.kd.preset: there is no"),
    ("a name that escapes", [], "methods: {../kd: {preset: kd}}\n", "string should match pattern"),
    ("not a mapping", [], "methods: {kd: 3}\n", "methods.kd: input should be a valid dictionary"),
    ("no corpus", [(f"{ROOT}/config/corpus/current.txt", "''")], "", "cannot be read as a list of pinned wheels"),
    ("corpus missing", [("current.txt", "currant.txt")], "", "currant.txt: no such list of pinned wheels"),
]


@pytest.mark.parametrize(
    ("replacements", "extra", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_what_is_wrong_is_named(write, replacements, extra, message):
    path = write(*replacements, extra=extra)
    found = problem(path)
    assert message in found
    assert f"{path}, line " in found


def test_the_line_is_that_of_the_key(write):
    path = write(("seeds: [1]", "seeds: [1]\n  colour: red"))
    assert f"line {line_of(path, 'colour')}: grid.colour" in problem(path)


def test_all_problems_are_named_at_once(write):
    path = write(("[ft, pseudo, kd, dist, pkd, ckd]", "[ft, dits]"), extra="students: {bigru-1.5m: {layers: 0}}\n")
    assert len(problem(path).splitlines()) == 1, "names first: a definition may depend on them"
    path = write(extra="students: {bigru-1.5m: {layers: 0}}\nmethods: {kd: {alpha: 2}}\n")
    assert len(problem(path).splitlines()) == 2


def test_schema_and_reference_are_in_step_with_the_models():
    assert json.loads((ROOT / "config/schema.json").read_text()) == json_schema(), "run `codekd schema`"
    assert (ROOT / "docs/config.md").read_text() == reference(), "run `codekd schema`"


def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text(f"{(ROOT / 'config' / 'smoke.yaml').read_text()}\nname: other\n")
    first, second = (n for n, line in enumerate(path.read_text().splitlines(), 1) if line.startswith("name:"))
    with pytest.raises(CodekdError, match=rf"twice\.yaml, line {second}: name stands on lines {first} and {second}"):
        load_study(yaml.safe_load(path.read_text()), [path])


def test_schema_accepts_the_configs_that_ship():
    jsonschema = pytest.importorskip("jsonschema")
    for path in (ROOT / "config").glob("*.yaml"):
        jsonschema.validate(yaml.safe_load(path.read_text()), json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(CONFIG.read_text()) | {"colour": "red"}, json_schema())


def test_planning_imports_nothing_heavy():
    script = (
        "import sys, yaml; from pathlib import Path;"
        "from codekd.study.graph import Graph; from codekd.study.resolve import load_study;"
        f"path = Path({str(CONFIG)!r});"
        "Graph(load_study(yaml.safe_load(path.read_text()), [path]));"
        "heavy = {'torch', 'transformers', 'numpy', 'polars', 'pyarrow', 'sklearn', 'tokenizers', 'datasets'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
