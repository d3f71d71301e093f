"""Identity: equal work has an equal digest, different work another one."""

from pathlib import Path

import pytest
import yaml

from codekd.study import canonical, identity
from codekd.study.defaults import READ, with_defaults
from codekd.study.graph import Graph
from codekd.study.resolve import load_study
from codekd.study.training import Training


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of our own in place of codekd; `write(module, source)` adds or changes a module."""
    (tmp_path / "methods").mkdir()

    def write(module, source):
        path = tmp_path.joinpath(*module.split(".")[1:])
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        path.write_text(source)
        forget()

    def forget():
        for name in ("closure", "_path", "_tree", "_imports", "_parses_python", "_source_digest"):
            getattr(identity, name).cache_clear()

    monkeypatch.setattr(identity, "ROOT", tmp_path)
    write("codekd", '"""A package."""')
    write("codekd.methods", "")
    write("codekd.helper", "from codekd.deeper import one\n\ndef half(x):\n    return x / (one() + one())\n")
    write("codekd.deeper", "def one():\n    return 1\n")
    write("codekd.methods.kd", "def loss(x):\n    from codekd.helper import half\n    return half(x)\n")
    write("codekd.methods.dist", "from ..deeper import one\nloss = one\n")
    yield write
    forget()


def kd():
    return identity.code_digest(["codekd.methods.kd"])


def dist():
    return identity.code_digest(["codekd.methods.dist"])


def test_canonical_json_is_the_same_for_equal_values():
    assert canonical.canonical({"b": 1e-4, "a": [1]}) == canonical.canonical({"a": [1], "b": 0.0001})
    assert canonical.digest({"lr": 1e-4}) != canonical.digest({"lr": 2e-4})
    with pytest.raises(ValueError):
        canonical.canonical(float("nan"))


def test_closure_follows_imports_inside_functions_and_relative_ones(package):
    assert identity.closure(frozenset(["codekd.methods.kd"])) == {
        "codekd",
        "codekd.methods",
        "codekd.methods.kd",
        "codekd.helper",
        "codekd.deeper",
    }
    assert "codekd.helper" not in identity.closure(frozenset(["codekd.methods.dist"]))
    assert "codekd.deeper" in identity.closure(frozenset(["codekd.methods.dist"]))


def test_imports_for_type_checking_do_not_count(package):
    before = identity.closure(frozenset(["codekd.deeper"]))
    package(
        "codekd.deeper",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import codekd.helper\ndef one():\n    return 1\n",
    )
    assert identity.closure(frozenset(["codekd.deeper"])) == before


@pytest.mark.parametrize(
    "source",
    [
        "# a comment\ndef one():\n    return 1  # another\n",
        '"""A docstring."""\n\n\ndef one():\n    """And one here."""\n    return (\n        1\n    )\n',
        "def one( ):\n\treturn 1\n",
        'def one():\n    return 1\n\n\n"""Of what is above."""\n',
    ],
)
def test_comments_docstrings_and_formatting_do_not_count(package, source):
    before = kd()
    package("codekd.deeper", source)
    assert kd() == before


@pytest.mark.parametrize(
    "source",
    [
        "def one():\n    return 2\n",
        "def one():\n    result = 1\n    return result\n",
        "def one():\n    return 1.0\n",
        "def one():\n    return 'text'\n",
    ],
)
def test_a_change_of_a_helpers_helper_counts(package, source):
    before = kd()
    package("codekd.deeper", source)
    assert kd() != before


def test_the_description_of_a_config_field_does_not_count(package):
    package("codekd.deeper", "one = Field(1, description='a number')\n")
    before = kd()
    package("codekd.deeper", "one = Field(1, description='the number one')\n")
    assert kd() == before
    package("codekd.deeper", "one = Field(2, description='the number one')\n")
    assert kd() != before


def test_another_methods_module_does_not_count(package):
    before = kd()
    package("codekd.methods.dist", "loss = 3\n")
    assert kd() == before


@pytest.mark.parametrize("name", ["helper.py~", "helper.py.orig", "helper.pyi", "helper.bak", ".helper.py.swp"])
def test_what_an_editor_leaves_beside_a_module_does_not_count(package, tmp_path, name):
    before = kd()
    path = tmp_path / name
    path.mkdir() if name.endswith("bak") else path.write_text("x = 1")
    package("codekd.unrelated", "")
    assert kd() == before


def test_a_template_beside_a_module_counts(package, tmp_path):
    before = kd()
    (tmp_path / "helper.html.j2").write_text("<p>")
    package("codekd.unrelated", "")
    assert kd() != before


def test_reverting_a_change_gives_the_old_digest(package):
    before = kd()
    package("codekd.deeper", "def one():\n    return 2\n")
    package("codekd.deeper", "def one():\n    return 1\n")
    assert kd() == before


def test_what_parses_python_depends_on_which_python_that_is(package, monkeypatch):
    """``ast.unparse`` writes f-strings in other ways, and some source parses on one version only."""
    package("codekd.methods.kd", "import ast\n")
    before = kd(), dist()
    monkeypatch.setattr(identity.sys, "version_info", (3, 99, 1))
    assert kd() != before[0] and dist() == before[1]
    assert identity.module_digests(["codekd.methods.kd"])["python"] == "3.99"


def test_a_new_setting_that_does_nothing_by_default_is_in_no_spec():
    class Smoothed(Training):
        label_smoothing: float = 0.0

    for values in ({}, {"epochs": 3}, {"learning_rate": 1e-4, "weight_decay": 0.1}):
        assert Smoothed(**values).chosen() == Training(**values).chosen() == values
    assert Smoothed(label_smoothing=0.1).chosen() == {"label_smoothing": 0.1}


@pytest.mark.parametrize("config", sorted(Path("config").glob("**/*.yaml")), ids=lambda path: path.stem)
def test_settings_in_a_spec_are_read_as_what_they_were(config):
    """Each is read by its model again, which gives the same: nothing that was chosen is left out."""
    for node in Graph(load_study(yaml.safe_load(config.read_text()), [config])):
        full = with_defaults(node.spec)
        for key in node.spec.keys() & READ.keys():
            again = READ[key](node.spec[key])
            left_out = {"metric", "max_length"} if key == "task" else set()
            assert {k: v for k, v in again.chosen().items() if k not in left_out | {"source", "files"}} == {
                k: v for k, v in node.spec[key].items() if k not in {"source", "files"}
            }, (node.path, key)
            assert full[key].keys() >= node.spec[key].keys()
