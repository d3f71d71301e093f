"""What the README tells a user to write works."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from data_stages import write_corpus

from codekd.study.defaults import with_defaults
from codekd.study.graph import Graph
from codekd.study.resolve import load_study

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(python|yaml)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
MODULES = {block.split()[1]: block for kind, block in BLOCKS if kind == "python" and block.startswith("# src/")}
CONFIGS = [yaml.safe_load(block) for kind, block in BLOCKS if kind == "yaml"]


SCALE = [
    yaml.safe_load(block)
    for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "scale.md").read_text(), re.DOTALL)
]


def test_the_example_of_ones_own_data_is_planned(tmp_path):
    rows = [f"{language},{smell},p{number}" for number in range(9) for language, smell in (("x;", "clean"), ("y;", 1))]
    (tmp_path / "smells.csv").write_text("\n".join(["source,smell,project", *rows]))
    graph = Graph(load_study(SCALE[0], [tmp_path / "own.yaml"]), tmp_path / "results")
    assert len(graph.stage("students")) == 2
    assert [role for node in graph.stage("examples") for role in node.files] == ["file/all/0"]


def test_the_other_examples_are_valid():
    base = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    for block in SCALE[1:]:
        for section, definitions in block.items():
            study = load_study(base | {section: definitions}, [ROOT / "config" / "my.yaml"])
            assert section == "search" or set(definitions) <= set(getattr(study, section))
    assert len(SCALE) == 5


def test_the_readme_has_these_examples():
    assert set(MODULES) == {"src/codekd/methods/mse.py", "src/codekd/data/tasks/testcode.py"}
    assert len(CONFIGS) == 6


def test_the_config_of_the_readme_is_valid():
    graph = Graph(load_study(CONFIGS[0], [ROOT / "config" / "my.yaml"]))
    cells = {node.coordinates[3] for node in graph.stage("students")}
    assert cells == {"ft", "kd", "kd-hot"}
    methods = (with_defaults(node.spec)["method"] for node in graph.stage("students"))
    assert {one.get("temperature") for one in methods} == {None, 4.0, 10.0}


@pytest.fixture
def extended(tmp_path):
    """A copy of the package with the README's modules in it."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name, source in MODULES.items():
        (tmp_path / name).write_text(source)
    return tmp_path


def python(folder, script):
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={"PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_grid_with_the_readmes_method_student_task_and_teacher_is_planned(extended):
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    added = {}
    for addition in CONFIGS[1:]:
        for section, definitions in addition.items():
            config.setdefault(section, {}).update(definitions)
            added.setdefault(section, []).extend(definitions)
    config["grid"] |= added
    path = extended / "config" / "my.yaml"
    shutil.copytree(ROOT / "config", path.parent)
    path.write_text(yaml.safe_dump(config))
    script = (
        "import yaml; from pathlib import Path; from codekd.study.graph import Graph;"
        "from codekd.study.resolve import load_study;"
        f"path = Path({str(path)!r});"
        "graph = Graph(load_study(yaml.safe_load(path.read_text()), [path]));"
        "print([' '.join(node.coordinates) for node in graph.stage('students')])"
    )
    cells = [f"testcode {teacher} bigru-3m mse seed1" for teacher in ("minilm-slow", "minilm-2", "both")]
    assert python(extended, script).strip() == str(cells)


def test_the_readmes_method_has_a_gradient(extended):
    script = (
        "import torch; from types import SimpleNamespace; from codekd.methods.mse import Config;"
        "logits = torch.zeros(2, 3, requires_grad=True);"
        "batch = SimpleNamespace(teacher={'logits': torch.ones(2, 3)});"
        "loss = Config().loss(SimpleNamespace(logits=logits), batch, None);"
        "loss.backward(); print(loss.item(), logits.grad.tolist()[0][0])"
    )
    loss, gradient = map(float, python(extended, script).split())
    assert loss == 1.0
    assert gradient == pytest.approx(-1 / 3)


def test_the_readmes_task_makes_examples(extended, tmp_path):
    sources = {f"{package}/m.py": "def test_a():\n    assert 1\n\ndef b():\n    return 2\n" for package in "abc"}
    corpus = write_corpus(tmp_path / "corpus", sources)
    script = (
        "from pathlib import Path; from codekd.data.tasks.testcode import Config, build;"
        f"frames = build(Config(), {{'current': Path({str(corpus)!r})}}, {{'a': 'train', 'b': 'valid', 'c': 'test'}});"
        "print({name: frame['label'].to_list() for name, frame in frames.items()})"
    )
    assert python(extended, script).strip() == "{'train': [1, 0], 'valid': [1, 0], 'test': [1, 0], 'unlabeled': []}"
