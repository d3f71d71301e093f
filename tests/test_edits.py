"""What an edit makes again, as ``snakemake -n`` says: exactly what depends on it, no node more and no node less."""

import copy
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from every_stage import RELATIONAL, STARTED, Project, matching

REPORT = "report/*"
STUDENTS = ("students", "trials", "selected")
METHODS = "src/codekd/methods"
Edit = Callable[[Project], None]


def in_config(old: str, new: str) -> Edit:
    return in_file("config/study.yaml", old, new)


def in_file(name: str, old: str, new: str) -> Edit:
    def edit(project: Project) -> None:
        text = (project.folder / name).read_text()
        assert old in text, f"{name} has no {old!r}"
        (project.folder / name).write_text(text.replace(old, new, 1))

    return edit


def appended(name: str, text: str) -> Edit:
    def edit(project: Project) -> None:
        with (project.folder / name).open("a") as stream:
            stream.write(text)

    return edit


def cells(where: str) -> list[str]:
    """Students of a task and teacher such as ``clone/minilm``, and the trials and choices that some are made from."""
    return [f"{stage}/{where}/*" for stage in STUDENTS]


def taught(task: str, *teachers: str) -> list[str]:
    """Teachers of a task, what is captured of them, and how fast students are beside them."""
    found = [f"{stage}/{task}/{one}*" for stage in ("teachers", "signals", "verified") for one in teachers]
    return found + [f"inference/{task}/{one}/*" for one in teachers if one in TRAINED]


def of_task(task: str) -> list[str]:
    """All that reads the examples of a task, with its tokenizer's group left out."""
    stages = ("encoded", "floors", "teachers", "signals", "verified", "inference")
    return [*(f"{stage}/{task}*" for stage in stages), *cells(f"{task}/*"), REPORT]


FUNCTIONS = [
    "tokenizers/functions/*",
    *(f"{stage}*" for task in ("clone", "defect") for stage in (f"encoded/{task}/bpe", f"inference/{task}/")),
    *(pattern for task in ("clone", "defect") for pattern in cells(f"{task}/*")),
]
OF_ASKED = ["pretrained/asked", "encoded/*/asked-*", "teachers/*/asked", "signals/*/asked/*", "verified/*/asked/*"]
TRAINED = ("minilm", "coder", "hub")
OF_CODER = [*taught("*", "coder"), *cells("*/coder"), REPORT]
OF_HUB = ["pretrained/hub", "encoded/*/hub-*", *taught("*", "hub")]
DIST = ["trials/*/dist/*", "selected/*/dist", "students/*/dist/*", REPORT]
CORPUS = ["examples/clone", "examples/defect", "tokenizers/functions/*", "adapted/*"]

EDITS = {
    # Numbers, sections and spellings of the config.
    "learning rate of all students": (in_config("{epochs: 2}", "{epochs: 3}"), [*cells("*"), REPORT]),
    "one student's number": (
        in_config("search:", "students: {bigru-1.5m: {training: {learning_rate: 1e-3}}}\nsearch:"),
        [*(f"{stage}/*/bigru-1.5m/*" for stage in STUDENTS), REPORT],
    ),
    "one method's number": (
        in_config("search:", "methods: {kd: {temperature: 2.0}}\nsearch:"),
        ["students/*/kd/*", REPORT],
    ),
    "the same number": (in_config("search:", "methods: {kd: {temperature: 4}}\nsearch:"), []),
    "a searched value": (
        in_config("gamma: [1.0, 2.0]", "gamma: [1.0, 2.0, 3.0]"),
        ["trials/*/gamma-3.0-*", "selected/*/dist", "students/*/dist/*", REPORT],
    ),
    "the seed of the search": (in_config("search:\n", "search:\n  seed: 7\n"), DIST),
    "a task's examples": (
        in_config("defect: {examples: {train: 100}}", "defect: {examples: {train: 101}}"),
        ["examples/defect", *of_task("defect"), *FUNCTIONS],
    ),
    "a task's metric": (
        in_config("defect: {", "defect: {metric: f1, "),
        ["floors/defect", "teachers/defect/asked", *taught("defect", *TRAINED), *cells("defect/*"), REPORT],
    ),
    "a task's window": (
        in_config("defect: {", "defect: {max_length: 64, "),
        [f"{stage}/defect/*" for stage in ("encoded", "teachers", "signals", "verified", "inference", *STUDENTS)]
        + [REPORT],
    ),
    "a teacher's epochs": (
        in_config("coder: {preset: minilm,", "coder: {preset: minilm, training: {epochs: 1},"),
        OF_CODER,
    ),
    "a teacher's training on code": (
        in_config("functions: 1000", "functions: 1001"),
        ["adapted/coder", *OF_CODER],
    ),
    "a prompt": (
        in_config("Is {code} good?", "Is {code} bad?"),
        ["teachers/*/asked", "signals/*/asked/*", "verified/*/asked/*", *cells("*/asked"), REPORT],
    ),
    "1.0e-4 for 1e-4": (in_config("hub: {", "hub: {training: {learning_rate: 2e-5, epochs: 5.0}, "), []),
    "0.00002 for 2e-5": (in_config("hub: {", "hub: {training: {learning_rate: 0.00002}, "), []),
    "order of keys": (
        in_config(
            "train: 100}}\n  defect: {examples: {train: 100}}",
            "train: 100}}\n  defect: {examples: {unlabeled: null, train: 100}}",
        ),
        [],
    ),
    "a comment": (in_config("search:", "# Chosen by validation.\nsearch:"), []),
    "a definition that nobody uses": (in_config("search:", "students: {bigru-7m: {dropout: 0.3}}\nsearch:"), []),
    "the study's name": (in_config("every-stage", "renamed"), [REPORT]),
    # The grid.
    "one seed more": (in_config("seeds: [1]", "seeds: [1, 2]"), ["students/*/seed2", REPORT]),
    "another seed": (in_config("seeds: [1]", "seeds: [2]"), ["students/*/seed2", REPORT]),
    "one method less": (in_config("[ft, kd, dist]", "[ft, dist]"), [REPORT]),
    "one method more": (in_config("[ft, kd, dist]", "[ft, kd, dist, pseudo]"), ["students/*/pseudo/*", REPORT]),
    "methods in another order": (in_config("[ft, kd, dist]", "[kd, ft, dist]"), [REPORT]),
    "one student less": (in_config("[bigru-1.5m, roberta-1.5m]", "[bigru-1.5m]"), [REPORT]),
    "one student more": (
        in_config("[bigru-1.5m, roberta-1.5m]", "[bigru-1.5m, roberta-1.5m, roberta-0.6m]"),
        [
            *("tokenizers/*/1000", "encoded/*/bpe1000-*", "inference/*/roberta-0.6m", REPORT),
            *(f"{stage}/*/roberta-0.6m/*" for stage in STUDENTS),
        ],
    ),
    "one task less": (in_config("[clone, defect, notes]", "[clone, defect]"), [REPORT]),
    "one task more": (
        in_config("[clone, defect, notes]", "[clone, defect, notes, exception]"),
        ["examples/exception", "tokenizers/exceptions/*", *of_task("exception")],
    ),
    "one teacher less": (in_config("[minilm, coder, asked, hub]", "[minilm, asked, hub]"), [REPORT]),
    # Files that a study is made from.
    "a pin of one corpus": (
        in_file("config/corpus/previous.txt", "docker==", "docker==0+"),
        ["corpus/previous", "examples/clone", *of_task("clone"), *FUNCTIONS],
    ),
    "a pin of the other": (
        in_file("config/corpus/current.txt", "nbconvert==", "nbconvert==0+"),
        ["corpus/current", *CORPUS, *of_task("clone"), *of_task("defect"), *OF_CODER],
    ),
    "a pin that is not used": (in_file("config/corpus/current.txt", "django==", "django==0+"), []),
    "a byte of a local file": (
        in_file("config/notes.csv", "good", "bad\nx = 2,good"),
        ["examples/notes", "tokenizers/notes/*", *of_task("notes")],
    ),
    "a byte of a local model": (
        in_file("config/asked/config.json", "{}", "{ }"),
        [*OF_ASKED, *cells("*/asked"), REPORT],
    ),
    "a commit of the hub": (in_file("config/study.lock", "a" * 40, "b" * 40), [*OF_HUB, *cells("*/hub"), REPORT]),
    "a library's version": (in_file("envs/requirements.txt", "filelock==", "filelock==0"), []),
    # Source.
    "a loss": (appended(f"{METHODS}/dist.py", "\nSMALL = 1e-3\n"), DIST),
    "the loss of another study": (appended(f"{METHODS}/ckd.py", "\nSMALL = 1e-3\n"), []),
    "what a loss imports": (
        appended(f"{METHODS}/base.py", "\nSMALL = 1e-3\n"),
        [*cells("*"), *taught("*", *TRAINED), REPORT],
    ),
    "a comment in a loss": (in_file(f"{METHODS}/dist.py", "\nfrom", "\n# Of one batch.\nfrom"), []),
    "a docstring of a loss": (in_file(f"{METHODS}/dist.py", '"""', '"""Another word. '), []),
    "the layout of a loss": (in_file(f"{METHODS}/dist.py", "\n\n\n", "\n\n\n\n\n"), []),
    "the name of a local variable": (in_file(f"{METHODS}/pkt.py", "def ", "def _renamed_"), []),
    "the encoder of examples": (
        appended("src/codekd/data/encode.py", "\nSMALL = 1e-3\n"),
        ["adapted/*", "encoded/*", *taught("*", *TRAINED, "asked"), "inference/*", *cells("*"), REPORT],
    ),
    "the reader of wheels": (
        appended("src/codekd/data/tasks/_clone_pairs.py", "\nSMALL = 1e-3\n"),
        ["examples/clone", *of_task("clone"), *FUNCTIONS],
    ),
    "the measure of speed": (appended("src/codekd/deploy/speed.py", "\nSMALL = 1e-3\n"), ["inference/*", REPORT]),
    "the report's style": (appended("src/codekd/analysis/style.py", "\nSMALL = 1e-3\n"), [REPORT]),
    "the report's page": (appended("src/codekd/analysis/page.html.j2", "<p>"), [REPORT]),
    "the check of signals": (appended("src/codekd/signals/verify.py", "\nSMALL = 1e-3\n"), []),
    "the command line": (appended("src/codekd/cli.py", "\nSMALL = 1e-3\n"), []),
    "bars of progress": (appended("src/codekd/progress.py", "\nSMALL = 1e-3\n"), []),
    "the class of errors": (appended("src/codekd/errors.py", "\nSMALL = 1e-3\n"), []),
    "a number that is the default": (in_config("training:", "methods: {dist: {beta: 1.0}}\ntraining:"), []),
}

RELATIONAL_EDITS = {
    "a window of relations": (
        in_config("training:", "methods: {ckd: {window: 5}}\ntraining:"),
        ["signals/*/relations-*", "verified/*/relations-*", "students/*/ckd/*", REPORT],
    ),
    "a weight of relations": (
        in_config("training:", "methods: {ckd: {beta: 2.0}}\ntraining:"),
        ["students/*/ckd/*", REPORT],
    ),
    "a helper of two losses": (
        appended(f"{METHODS}/_states.py", "\nSMALL = 1e-3\n"),
        ["students/*/pkd/*", "students/*/ckd/*", REPORT],
    ),
    "a local variable of a helper's helper": (
        in_file(
            "src/codekd/signals/bands.py", "def ", "def _another() -> int:\n    found = 1\n    return found\n\n\ndef "
        ),
        ["signals/*/relations-*", "verified/*/relations-*", "students/*/ckd/*", REPORT],
    ),
    "one layer more": (
        in_config("training:", "students: {bigru-1.5m: {layers: 3}}\ntraining:"),
        ["students/*/bigru-1.5m/*", "signals/*/relations-*-l3", "verified/*/relations-*-l3", REPORT],
    ),
    "the grammar": (
        appended("src/codekd/data/lexemes.py", "\nSMALL = 1e-3\n"),
        ["syntax/*", "signals/*/relations-*", "verified/*/relations-*", "students/*/ckd/*", REPORT],
    ),
}

WINDOWS, FEW = "current+50000x320", "current+1000x320"


def started(*students: str) -> list[str]:
    """Starts of some students and all cells that begin from them."""
    return [f"{stage}/{one}/*" for one in students for stage in ("starts/functions", "students/*")] + [REPORT]


def captured(windows: str) -> list[str]:
    """What an encoder gives of windows, and the check of it."""
    return [f"{stage}/{windows}/coder/*" for stage in ("signals", "verified")]


STARTED_EDITS = {
    "a seed more": (in_config("seeds: [1]", "seeds: [1, 2]"), ["students/*/seed2", REPORT]),
    "a number of all students": (in_config("{epochs: 2}", "{epochs: 3}"), ["students/*", REPORT]),
    "a student without its start": (
        in_config(", start: {kind: masked}", ""),
        ["students/*/masked/*", REPORT],
    ),
    "a weight of one start": (in_config("kind: aligned,", "kind: aligned, contrast: 2,"), started("aligned")),
    "a start's windows": (
        in_config("windows: 1000", "windows: 1001"),
        [f"{stage}/current+1001x320*" for stage in ("windows", "encoded", "syntax", "signals", "verified")]
        + started("related"),
    ),
    "the training of a start's teacher": (
        in_config("functions: 1000", "functions: 1001"),
        ["adapted/coder", *captured(WINDOWS), *captured(FEW), *started("aligned", "related")],
    ),
    "the recipe of one start": (
        appended("src/codekd/starts/aligned.py", "\nSMALL = 1e-3\n"),
        started("aligned"),
    ),
    "what trained starts are": (
        appended("src/codekd/training/start.py", "\nSMALL = 1e-3\n"),
        started("masked", "aligned", "related", "embedded"),
    ),
    "how code is cut": (
        appended("src/codekd/data/windows.py", "\nSMALL = 1e-3\n"),
        [f"{stage}/current+*" for stage in ("windows", "encoded", "syntax", "signals", "verified")]
        + started("masked", "aligned", "related"),
    ),
    "how weights are read": (
        appended("src/codekd/models/start.py", "\nSMALL = 1e-3\n"),
        ["students/*", *started("masked", "aligned", "related", "embedded")],
    ),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("study"))
    project.finish()
    assert project.would_run() == set()
    return project


@pytest.fixture(scope="module")
def relational(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("relational"), RELATIONAL)
    project.finish()
    assert project.would_run() == set()
    return project


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("begun"), STARTED)
    project.finish()
    assert project.would_run() == set()
    return project


@pytest.fixture(autouse=True)
def reverted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every file as it was, after each test."""
    projects = [
        request.getfixturevalue(name) for name in ("study", "relational", "begun") if name in request.fixturenames
    ]
    folders = [one.folder / name for one in projects for name in ("config", "envs", "src", "workflow", "profiles")]
    before = {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    yield
    for path, content in before.items():
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def check(project: Project, edit: Edit, patterns: list[str]) -> None:
    edit(project)
    assert project.would_run() == matching(project.names(), patterns)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_makes_exactly_what_depends_on_it(name: str, study: Project) -> None:
    check(study, *EDITS[name])


@pytest.mark.parametrize("name", RELATIONAL_EDITS)
def test_an_edit_of_what_relations_need(name: str, relational: Project) -> None:
    check(relational, *RELATIONAL_EDITS[name])


@pytest.mark.parametrize("name", STARTED_EDITS)
def test_an_edit_of_what_students_begin_from(name: str, begun: Project) -> None:
    check(begun, *STARTED_EDITS[name])


def test_nothing_counts_but_content(study: Project, tmp_path: Path) -> None:
    for path in sorted(study.folder.rglob("*"), reverse=True):
        path.touch()
        path.chmod(path.stat().st_mode | 0o077)
    shutil.rmtree(study.folder / ".snakemake")
    os.utime(study.path, (1, 1))
    moved = study.path.with_name("copied.csv")
    shutil.copy(study.path.with_name("notes.csv"), moved)
    study.path.write_text(study.path.read_text().replace("notes.csv", "copied.csv"))
    assert study.would_run() == set(), "of the same content in another file"
    clone = tmp_path / "clone"
    shutil.copytree(study.folder, clone)
    elsewhere = copy.copy(study)
    elsewhere.folder = clone
    assert elsewhere.would_run() == set(), "in another folder, at other times"


def test_after_every_edit_was_reverted_there_is_nothing_to_do(study: Project, relational: Project) -> None:
    assert study.would_run() == relational.would_run() == set()
