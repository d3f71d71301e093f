"""The three tasks on real and on small written code."""

import ast
import importlib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from data_stages import SPLIT, run_stage, write_corpus

from codekd.data.bare import MASKED_NAME, bare
from codekd.data.examples import check, finish
from codekd.data.hole import HOLE
from codekd.data.read import read_examples
from codekd.data.tasks import _clone_pairs, clone, defect, exception
from codekd.data.tasks._clone_pairs import Clone, nearest_others
from codekd.data.tasks._except_clauses import clauses_of
from codekd.data.tasks._injected_bugs import inject
from codekd.data.tasks._made import in_turns
from codekd.data.tasks._made_clauses import handler_of, with_clause
from codekd.data.tasks._made_pairs import renamed
from codekd.data.tasks.base import Limits
from codekd.data.tokens import code_tokens
from codekd.errors import CodekdError

pytest_plugins = ["data_fixtures"]

KINDS = {"exception": exception.Config, "clone": clone.Config, "defect": defect.Config}


def examples(kind: str, folder: Path, corpora: dict[str, Path], **settings: Any) -> dict[str, pl.DataFrame]:
    parents = {f"corpus/{name}": path for name, path in corpora.items()}
    run_stage("codekd.data.examples", folder, {"task": {"kind": kind, **settings}, "split": SPLIT}, parents)
    config = KINDS[kind]
    return {
        part: read_examples(folder, part, config.columns, config().classes)
        for part in ("train", "valid", "test", "unlabeled")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_real_examples_are_disjoint_and_the_same_every_time(
    kind: str, corpora: dict[str, Path], tmp_path: Path
) -> None:
    settings = {"per_package": 40} if kind == "defect" else {}
    frames = examples(kind, tmp_path / "first", corpora, **settings)
    assert {part: set(frame["group"]) for part, frame in frames.items()} == {
        "train": {"docker"},
        "valid": {"traitlets"},
        "test": {"redis"},
        "unlabeled": {"docker"},
    }
    inputs = pl.concat([frame.select("id", *KINDS[kind].columns) for frame in frames.values()])
    assert inputs["id"].is_unique().all()
    assert inputs.select(KINDS[kind].columns).is_unique().all()
    again = examples(kind, tmp_path / "again", corpora, **settings)
    assert all(frame.equals(again[part]) for part, frame in frames.items())


def test_a_limit_keeps_a_subset(corpora: dict[str, Path], tmp_path: Path) -> None:
    everything = examples("exception", tmp_path / "all", corpora)
    limited = examples("exception", tmp_path / "some", corpora, examples={"train": 5, "unlabeled": 0})
    assert limited["train"]["id"].to_list() == everything["train"]["id"].to_list()[:5]
    assert limited["unlabeled"].is_empty()
    assert limited["test"].equals(everything["test"])


def test_a_package_outside_the_split_is_named(corpora: dict[str, Path], tmp_path: Path) -> None:
    split = {"docker": "train", "traitlets": "valid"}
    parents = {f"corpus/{name}": path for name, path in corpora.items()}
    with pytest.raises(CodekdError, match="leaves out redis of the corpus 'current'"):
        run_stage("codekd.data.examples", tmp_path / "x", {"task": {"kind": "defect"}, "split": split}, parents)


def test_an_input_of_two_splits_stays_in_the_first_and_labelled_go_before_unlabelled() -> None:
    def frame(*codes: str, label: int = 0, group: str = "g") -> pl.DataFrame:
        return pl.DataFrame({"code": codes, "label": label, "group": group})

    config = exception.Config()
    frames = finish(
        {
            "train": frame("a", "b", "b"),
            "valid": frame("b", "c", group="v"),
            "test": frame("a", "c", "d", group="t"),
            "unlabeled": frame("d", "e", label=-1),
        },
        config,
    )
    assert {part: sorted(found["code"]) for part, found in frames.items()} == {
        "train": ["a", "b"],
        "valid": ["c"],
        "test": ["d"],
        "unlabeled": ["e"],
    }
    check(frames, config)
    with pytest.raises(CodekdError, match="g has examples in train and in test"):
        check(frames | {"test": frames["test"].with_columns(group=pl.lit("g"))}, config)
    with pytest.raises(CodekdError, match=r"labels outside 0\.\.19"):
        check(frames | {"test": frames["test"].with_columns(label=pl.lit(20))}, config)


def test_no_group_outweighs_the_others_where_models_are_compared() -> None:
    sizes = {"large": 1000, "b": 100, "c": 100, "small": 20}
    rows = [(f"{group}{number}", number % 2, group) for group, size in sizes.items() for number in range(size)]
    given = {
        part: pl.DataFrame(rows, {"code": pl.String, "label": pl.Int32, "group": pl.String}, orient="row").with_columns(
            pl.format(part + "{}", "code").alias("code"), pl.format(part + "{}", "group").alias("group")
        )
        for part in ("train", "valid", "test", "unlabeled")
    }
    limits = Limits(valid=160)
    frames = finish(given, exception.Config(evaluated_per_group=100, examples=limits))
    assert {part: len(frame) for part, frame in frames.items()} == {
        "train": 1220,
        "valid": 160,
        "test": 320,
        "unlabeled": 1220,
    }
    assert dict(frames["test"]["group"].value_counts().rows()) == {
        "testlarge": 100,
        "testb": 100,
        "testc": 100,
        "testsmall": 20,
    }
    # A limit takes as much of a group that was cut as of the others.
    counts = dict(frames["valid"]["group"].value_counts().rows())
    assert all(36 <= counts[f"valid{group}"] <= 64 for group in ("large", "b", "c")) and counts["validsmall"] < 20
    other_labels = {part: frame.with_columns(1 - pl.col("label")) for part, frame in given.items()}
    again = finish(other_labels, exception.Config(evaluated_per_group=100, examples=limits))
    assert all(frame["id"].equals(again[part]["id"]) for part, frame in frames.items())
    assert len(finish(given, exception.Config(evaluated_per_group=None))["test"]) == 1220


def test_the_summary_names_the_largest_group(corpora: dict[str, Path], tmp_path: Path) -> None:
    spec = {"task": {"kind": "exception", "evaluated_per_group": 3}, "split": SPLIT}
    parents = {f"corpus/{name}": path for name, path in corpora.items()}
    summary = run_stage("codekd.data.examples", tmp_path / "x", spec, parents)
    assert summary["test"]["examples"] == 3
    assert (summary["test"]["groups"], summary["test"]["largest_group"]) == (1, {"name": "redis", "share": 1.0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": pl.lit(7, pl.Int32)}, r"test\.parquet, row 0: label is 7, but labels are 0 to 1 \(a, b\)"),
        ({"label": pl.lit("1")}, r"column 'label' is String; write it as Int32"),
        ({"id": pl.lit("same")}, r"row 0: id is 'same', but ids must be unique \(2 such rows\)"),
        ({"code": pl.lit(None, pl.String)}, r"row 0: code is None"),
    ],
)
def test_bad_examples_are_refused_where_they_stand(tmp_path: Path, change: dict[str, pl.Expr], message: str) -> None:
    good = pl.DataFrame({"id": ["1", "2"], "code": ["x", "y"], "group": ["g", "g"]}).with_columns(
        label=pl.Series([0, 1], dtype=pl.Int32)
    )
    good.write_parquet(tmp_path / "test.parquet")
    assert read_examples(tmp_path, "test", ["code"], ["a", "b"]).equals(good)
    good.with_columns(**change).write_parquet(tmp_path / "test.parquet")
    with pytest.raises(CodekdError, match=message):
        read_examples(tmp_path, "test", ["code"], ["a", "b"])


def test_every_form_of_an_except_clause() -> None:
    code = (
        "def f():\n"
        "    try: é = 'é'; g()\n"
        "    except ValueError: pass\n"
        "    except é.b.KeyError as e:\n"
        "        def inner():\n"
        "            try: pass\n"
        "            except TypeError: pass\n"
        "    except (OSError,\n"
        "            IOError): pass\n"
        "    except: pass\n"
    )
    clauses = list(clauses_of(code))
    assert [clause.type for clause in clauses] == ["ValueError", "KeyError", "(OSError, IOError)", ""]
    shown = [clause.before.rsplit("\n", 1)[-1] + HOLE + clause.after.split("\n", 1)[0] for clause in clauses]
    assert shown == [
        "    except __HOLE__: pass",
        "    except __HOLE__ as e:",
        "    except __HOLE__: pass",
        "    except __HOLE__: pass",
    ]


def test_a_hole_is_a_name_of_its_own() -> None:
    (clause,) = clauses_of("def f():\n    try: pass\n    except(OSError, IOError)as e: pass\n")
    assert (clause.before + HOLE + clause.after).endswith("\n    except __HOLE__ as e: pass\n")


def test_an_earlier_release_adds_only_what_the_current_one_has_lost(tmp_path: Path) -> None:
    clause = "def {name}():\n    try: {body}\n    except {type}: pass\n"
    both = {"b/m.py": clause.format(name="v", body="b", type="KeyError")}
    both |= {"c/m.py": clause.format(name="t", body="c", type="KeyError")}
    current = {"a/m.py": clause.format(name="kept", body="new()", type="KeyError")}
    previous = {
        "a/m.py": clause.format(name="kept", body="old()", type="KeyError")
        + clause.format(name="lost", body="gone()", type="TypeError")
        + clause.format(name="kept2", body="new()", type="MyError")
    }
    corpora = {
        "current": write_corpus(tmp_path / "current", both | current),
        "previous": write_corpus(tmp_path / "previous", previous),
    }
    frames = exception.build(exception.Config(), corpora, {"a": "train", "b": "valid", "c": "test"})
    assert sorted(frames["train"]["code"].str.extract(r"try: (\w+)")) == ["gone", "new"]
    assert frames["unlabeled"].rows() == [(frames["unlabeled"]["code"][0], -1, "a", "MyError")]


def test_comments_and_layout_do_not_make_another_example() -> None:
    assert code_tokens("f( 'a # b' ) # c") == code_tokens("f('a # b')") == ["f", "(", "'a # b'", ")"]


def test_bare_code_shows_neither_name_nor_documentation_nor_types() -> None:
    code = (
        '@cached\ndef fit(self, x: int = 1) -> "A":\n    """Fit."""\n    y: int = super().fit(x)  # why\n    return y\n'
    )
    assert bare(code) == (f"def {MASKED_NAME}(self, x=1):\n    y = super().{MASKED_NAME}(x)\n    return y")
    assert bare('def f():\n    """Only documented."""') == f"def {MASKED_NAME}():\n    pass"


def test_functions_are_matched_by_path_or_if_moved_by_a_name_of_their_own(tmp_path: Path) -> None:
    def f(name: str, body: int) -> str:
        return f"def {name}():\n    return {body}\n"

    previous = write_corpus(
        tmp_path / "p",
        {
            "a/m.py": f("stays", 1) + f("moves", 2),
            "a/n.py": f("twice", 3) + f("was_twice", 8),
            "a/o.py": f("was_twice", 9),
        },
    )
    current = write_corpus(
        tmp_path / "c",
        {
            "a/m.py": f("stays", 4),
            "a/new.py": f("moves", 5) + f("twice", 6) + f("was_twice", 10),
            "a/x.py": f("twice", 7),
        },
    )
    pairs = {qualname: (old[-1], new[-1]) for _, qualname, old, new in _clone_pairs.matched(previous, current)}
    assert pairs == {"stays": ("1", "4"), "moves": ("2", "5")}


def test_a_neighbour_has_another_name_and_other_code() -> None:
    texts = {"a.f": "x = load(path)", "b.f": "x = load(path, 1)", "a.g": "x = load(path, 2)", "a.h": "print(None)"}
    clones = [Clone("p", name, text, text, 0.5) for name, text in texts.items()]
    assert nearest_others(clones, 1)[0] == [texts["a.g"]]


def test_real_clones_have_types_and_no_names(corpora: dict[str, Path], tmp_path: Path) -> None:
    frames = examples("clone", tmp_path / "x", corpora)
    assert set(frames["train"].filter(pl.col("label") == 1)["type"]) == {"MT3", "WT3T4"}
    assert set(frames["train"].filter(pl.col("label") == 0)["type"]) == {"negative"}
    assert set(frames["unlabeled"]["type"]) == {"VST3", "ST3", "negative"}
    for code in [*frames["test"]["code_a"], *frames["test"]["code_b"]]:
        (function,) = ast.parse(code).body
        assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        assert function.name == MASKED_NAME and not function.decorator_list
        assert 6 <= len(code.split("\n")) <= 100


def test_a_cap_on_clones_leaves_classes_and_packages_as_likely_in_a_limited_sample(tmp_path: Path) -> None:
    def module(package: str, functions: int, release: int) -> str:
        body = "".join(f"    {package}_{line % 2 * release}_{line} = {{number}} + {line}\n" for line in range(8))
        return "".join(f"def f{number}():\n{body.format(number=number)}" for number in range(functions))

    packages = {"large": 300, "small": 60, "v": 9, "t": 9}
    corpora = {
        name: write_corpus(tmp_path / name, {f"{p}/m.py": module(p, count, release) for p, count in packages.items()})
        for release, name in enumerate(("previous", "current"))
    }
    config = clone.Config(per_package=60, examples=Limits(train=80))
    split = {"large": "train", "small": "train", "v": "valid", "t": "test"}
    train = finish(clone.build(config, corpora, split), config)["train"]
    assert len(train) == 80
    assert 28 <= train["label"].sum() <= 52
    assert 28 <= (train["group"] == "large").sum() <= 52


def test_a_bug_is_one_other_operator_or_one_swap() -> None:
    variants = inject('def f(a, b):\n    """Doc."""\n    return a - b\n', ("swapped", "operator"))
    assert variants.clean == "def f(a, b):\n    return a - b"
    assert variants.buggy["swapped"] == "def f(a, b):\n    return b - a"
    wrong = variants.buggy["operator"].removeprefix("def f(a, b):\n    return a ").removesuffix(" b")
    assert wrong in {"+", "*", "/", "//", "%"}


def test_a_bug_that_adds_parentheses_is_none() -> None:
    for name in "abcdefgh":
        (swapped,) = inject(f"def {name}(x, y, z):\n    return x - y - z\n", ("swapped",)).buggy.values()
        assert swapped == f"def {name}(x, y, z):\n    return y - x - z"


def test_where_the_order_of_operands_does_not_matter_a_swap_is_no_bug() -> None:
    assert inject("def f(a, b):\n    return a == b\n", ("swapped",)).buggy == {}


def test_both_classes_of_real_defects_share_layout_and_functions(corpora: dict[str, Path], tmp_path: Path) -> None:
    frames = examples("defect", tmp_path / "x", corpora, per_package=60, unlabeled_per_package=4)
    labelled = pl.concat([frames[part] for part in ("train", "valid", "test")])
    assert len(frames["train"]) == 60 and len(frames["unlabeled"]) == 4
    assert all(code == ast.unparse(ast.parse(code)) and len(code) <= 510 for code in labelled["code"])
    shape = labelled.group_by("label").agg(
        pl.len(),
        kinds=pl.col("kind").n_unique(),
        parentheses=pl.col("code").str.count_matches(r"\(").mean(),
        length=pl.col("code").str.len_chars().mean(),
    )
    assert shape["kinds"].to_list() == [2, 2]
    for feature in ("len", "parentheses", "length"):
        assert shape[feature].max() < 1.4 * shape[feature].min(), feature


@pytest.mark.parametrize("kind", ["exception", "defect"])
def test_a_transfer_package_gives_unlabelled_examples_only(kind: str, tmp_path: Path) -> None:
    clause = "def f_{package}(x):\n    try: {package}()\n    except KeyError: return x - {package}\n"
    corpora = {
        "current": write_corpus(tmp_path / "current", {f"{p}/m.py": clause.format(package=p) for p in "abcd"}),
        "previous": write_corpus(tmp_path / "previous", {"a/n.py": "def g(): pass\n"}),
    }
    task = importlib.import_module(f"codekd.data.tasks.{kind}")
    frames = task.build(task.Config(), corpora, {"a": "train", "b": "valid", "c": "test", "d": "transfer"})
    groups = {part: frame["group"].to_list() for part, frame in frames.items()}
    assert groups == {"train": ["a"], "valid": ["b"], "test": ["c"], "unlabeled": ["d"]}
    assert frames["unlabeled"]["label"].to_list() == [-1]


@pytest.fixture(scope="module")
def made(corpora: dict[str, Path]) -> dict[str, dict[int, dict[str, pl.DataFrame]]]:
    """Of every kind the finished examples by how many are made."""
    settings = {"defect": {"per_package": 40, "unlabeled_per_package": 20}, "clone": {}, "exception": {}}
    found: dict[str, dict[int, dict[str, pl.DataFrame]]] = {}
    for kind, more in settings.items():
        for count in (0, 40, 200):
            config = KINDS[kind](made=count, **more)
            frames = importlib.import_module(f"codekd.data.tasks.{kind}").build(config, corpora, SPLIT)
            found.setdefault(kind, {})[count] = finish(frames, config)
            check(found[kind][count], config)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_examples_are_made_beside_those_that_there_are(
    kind: str, made: dict[str, dict[int, dict[str, pl.DataFrame]]]
) -> None:
    none, few, many = (made[kind][count] for count in (0, 40, 200))
    assert "made" not in none["unlabeled"].columns
    for frames in (few, many):
        assert all(frames[part].equals(none[part]) for part in ("train", "valid", "test"))
        assert frames["unlabeled"].filter(~pl.col("made")).drop("made").equals(none["unlabeled"])
    few_made, many_made = (frames["unlabeled"].filter("made") for frames in (few, many))
    assert 35 <= len(few_made) <= 40 and 150 <= len(many_made) <= 200
    assert many_made.head(len(few_made)).equals(few_made), "a smaller number is a subset of a larger one"
    assert set(many_made["group"]) == {"docker"} and set(many_made["label"]) == {-1}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_made_is_no_example_already(kind: str, made: dict[str, dict[int, dict[str, pl.DataFrame]]]) -> None:
    def keys(frame: pl.DataFrame) -> list[Any]:
        """By the task's own notion of what is the same."""
        if kind == "clone":
            return [frozenset(row) for row in frame.select("code_a", "code_b").iter_rows()]
        return [tuple(code_tokens(code)) for code in frame["code"]]

    frames = made[kind][200]
    own = keys(frames["unlabeled"].filter("made"))
    others = {
        key
        for part in frames.values()
        for key in keys(part.filter(~pl.col("made")) if "made" in part.columns else part)
    }
    assert len(set(own)) == len(own) and not others & set(own)


def test_made_defects_are_both_variants_of_functions(made: dict[str, dict[int, dict[str, pl.DataFrame]]]) -> None:
    frame = made["defect"][200]["unlabeled"].filter("made")
    assert set(frame["kind"]) == {"swapped", "operator"}
    assert all(code == ast.unparse(ast.parse(code)) for code in frame["code"])
    # Both variants of a function follow each other, but for those whose other one is an example.
    signatures = frame["code"].str.split("\n").list.first()
    assert signatures.n_unique() < 0.7 * len(frame)


def test_of_a_labelled_function_the_other_variant_is_made_and_of_an_evaluated_one_none(tmp_path: Path) -> None:
    def module(*names: str) -> str:
        return "".join(f"def {name}(x, y):\n    return x - y\n" for name in names)

    shared = [f"shared{number}" for number in range(8)]
    trained = [f"train{number}" for number in range(8)]
    corpora = {
        "current": write_corpus(
            tmp_path / "c", {"a/m.py": module(*shared, *trained), "v/m.py": module("v"), "t/m.py": module(*shared)}
        )
    }
    config = defect.Config(made=100, per_package=400)
    frames = defect.build(config, corpora, {"a": "train", "v": "valid", "t": "test"})
    owner = {part: set(frames[part]["code"].str.extract(r"def (\w+)")) for part in frames}
    assert owner["test"] and owner["made"] == owner["train"]
    assert len(frames["made"]) == len(frames["train"])
    both = pl.concat([frames["train"], frames["made"]])
    buggy = both["code"].str.contains("return x - y").not_()
    assert buggy.sum() == len(frames["train"]), "one of the two is the function, one has a bug"


def test_made_pairs_are_as_often_clones_as_not_and_of_no_evaluated_code(
    made: dict[str, dict[int, dict[str, pl.DataFrame]]],
) -> None:
    frames = made["clone"][200]
    counts = dict(frames["unlabeled"].filter("made")["type"].value_counts().rows())
    assert counts.keys() == {"renamed", "neighbour"} and abs(counts["renamed"] - counts["neighbour"]) <= 20
    evaluated = {code for part in ("valid", "test") for side in ("code_a", "code_b") for code in frames[part][side]}
    own = frames["unlabeled"].filter("made")
    assert evaluated.isdisjoint([*own["code_a"], *own["code_b"]])


def test_another_name_is_given_wherever_a_name_of_the_function_stands() -> None:
    code = "def function(self, a, b=1):\n    global g\n    g = a\n    c = b.a + len(c)\n    return self.c(c, key=d)"
    text = renamed(code, ["x", "y", "z", "c", "a", "len"])
    new = dict(
        zip("abc", (text.split("self, ")[1][0], text.split(", ")[2][0], text.split("\n")[3].strip()[0]), strict=True)
    )
    assert set(new.values()) == {"x", "y", "z"}
    assert text == (
        f"def function(self, {new['a']}, {new['b']}=1):\n    global g\n    g = {new['a']}\n"
        f"    {new['c']} = {new['b']}.a + len({new['c']})\n    return self.c({new['c']}, key=d)"
    )
    assert renamed(code, []) == renamed(code, ["g"]) == code


def test_made_clauses_are_code(made: dict[str, dict[int, dict[str, pl.DataFrame]]]) -> None:
    for code in made["exception"][200]["unlabeled"].filter("made")["code"]:
        assert code.count(HOLE) == 1
        compile(code.replace(HOLE, "KeyError"), "<made>", "exec", dont_inherit=True)
        (clause,) = clauses_of(code)
        assert clause.type == HOLE


def test_a_clause_is_put_round_statements_as_people_write_it() -> None:
    code = "def f(x):\n  if x:\n    # why\n    y = g(x)  # what\n  elif x is None: pass\n  return 0\n"
    handler = handler_of("try: a()\n    except ", " as e:\n      log(e)\n\n    next()")
    assert handler == (f"except {HOLE} as e:", "  log(e)")
    texts = {with_clause(code + f"# {number}", [handler]) for number in range(40)}
    inner = (
        f"def f(x):\n  if x:\n    # why\n    try:\n      y = g(x)  # what\n    except {HOLE} as e:\n      log(e)\n"
        "  elif x is None: pass\n  return 0\n# "
    )
    assert inner in {text.rstrip("0123456789") for text in texts if text}
    assert with_clause("def f(x):\n    return x\n", [handler]) is None, "nothing could be raised"
    assert with_clause("def f(x):\n    g(x)\n", [(f"except {HOLE}:", "    continue")]) is None, "there is no loop"
    assert with_clause('def f(x):\n    g("""a\n  b""")\n', [handler]) is None, "text would be moved"
    assert handler_of("    except ", ":\n" + "        a()\n" * 5) is None


def test_packages_take_turns() -> None:
    order = in_turns([*(("a", str(number)) for number in range(9)), ("b", "0"), ("c", "0"), ("c", "1"), ("c", "1")])
    assert len(order) == 12
    assert {package for package, _ in order[:3]} == {"a", "b", "c"}
    assert sorted(package for package, _ in order[3:5]) == ["a", "c"] and {p for p, _ in order[5:]} == {"a"}
