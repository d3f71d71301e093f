"""What a change of the config makes again: the nodes that depend on it, and no other."""

import copy
from pathlib import Path

import pytest
import yaml

from codekd.errors import CodekdError
from codekd.study import components
from codekd.study.defaults import with_defaults
from codekd.study.graph import Graph
from codekd.study.identity import closure
from codekd.study.resolve import load_study

ROOT = Path(__file__).parents[1]
PATH = ROOT / "tests" / "grid.yaml"
TASKS = ("exception", "clone", "defect")
PAIRS = ("minilm/roberta-1.5m", "minilm/bigru-1.5m")


def edited(**changes):
    """The default config on ft, kd and dist, with keys replaced, e.g. ``grid__seeds=[1, 2]``."""
    config = copy.deepcopy(yaml.safe_load(PATH.read_text()))
    config["grid"]["methods"] = ["ft", "kd", "dist"]
    for key, value in changes.items():
        *sections, last = key.split("__")
        place = config
        for section in sections:
            place = place.setdefault(section.replace("ONE", "roberta-1.5m"), {})
        place[last] = value
    return config


def folders(config):
    return set(Graph(load_study(config, [PATH])).by_folder)


BEFORE = folders(edited())


def made(**changes):
    """Coordinates of the nodes that a change makes anew, as ``stage/coordinates``."""
    return {folder.rpartition("-")[0] for folder in folders(edited(**changes)) - BEFORE}


def cells(task="*", teacher="*", student="*", method="*", seed="seed1"):
    """The default grid's cells that match."""
    wanted = (task, teacher, student, method)
    return {
        f"students/{t}/{'none' if m == 'ft' else 'minilm'}/{s}/{m}/{seed}"
        for t in TASKS
        for s in ("roberta-1.5m", "bigru-1.5m")
        for m in ("ft", "kd", "dist")
        if all(w in ("*", value) for w, value in zip(wanted, (t, "none" if m == "ft" else "minilm", s, m), strict=True))
    }


REPORT = {"report/embedded"}


LOGITS_OF_CLONE = ("signals/clone/minilm/logits", "verified/clone/minilm/logits")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"methods": {"dist": {"gamma": 2.0}}}, cells(method="dist") | REPORT),
        ({"methods": {"dist": {"gamma": 1}}}, set()),
        ({"methods": {"dist": {"gamma": "1.0"}}}, set()),
        ({"methods": {"pseudo": {"transfer": "labelled"}}}, set()),
        ({"grid__seeds": [1, 2]}, cells(seed="seed2") | REPORT),
        ({"grid__methods": ["dist", "kd", "ft"]}, REPORT),
        ({"grid__methods": ["ft", "kd"]}, REPORT),
        ({"grid__tasks": ["exception"]}, REPORT),
        ({"students__ONE__training": {"learning_rate": 1e-3}}, cells(student="roberta-1.5m") | REPORT),
        (
            {"students__ONE__heads": 2},
            cells(student="roberta-1.5m") | {f"inference/{task}/minilm/roberta-1.5m" for task in TASKS} | REPORT,
        ),
        (
            {"tasks__clone__metric": "accuracy"},
            cells("clone")
            | {
                "teachers/clone/minilm",
                *LOGITS_OF_CLONE,
                "floors/clone",
                "floors/clone/minilm",
                *(f"inference/clone/{pair}" for pair in PAIRS),
            }
            | REPORT,
        ),
        ({"name": "other"}, {"report/other"}),
        ({"vocabularies": {"exceptions": ["exception"], "functions": ["clone", "defect"]}}, set()),
    ],
)
def test_exactly_what_depends_on_a_change_is_made_again(changes, expected):
    assert made(**changes) == expected


def test_a_new_student_adds_its_cells_and_renames_nothing():
    found = made(grid__students=["roberta-1.5m", "bigru-1.5m", "bigru-7m"])
    new = {name for name in found if "bigru-7m" in name or "5000" in name}
    assert found == new | REPORT
    assert len([name for name in new if name.startswith("students/")]) == 9
    assert BEFORE - folders(edited(grid__students=["roberta-1.5m", "bigru-1.5m", "bigru-7m"])) == {
        folder for folder in BEFORE if folder.startswith("report/")
    }


def test_a_student_may_have_fewer_methods_than_the_grid_and_other_cells_stay_as_they_are():
    graph = Graph(load_study(edited(students__ONE__methods=["ft", "kd"]), [PATH]))
    assert BEFORE - set(graph.by_folder) == {
        folder for folder in BEFORE if "/roberta-1.5m/dist/" in folder or folder.startswith("report")
    }
    assert ["roberta-1.5m", "dist"] not in [cell[2:4] for cell in cells_of(graph)]
    assert len(cells_of(graph)) == 3 * (2 + 3)


def cells_of(graph):
    """The cells that the report is told of."""
    return graph.report.spec["cells"]


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["ft", "dits"], r"students.roberta-1.5m.methods.1: there is no 'dits'; did you mean 'dist'"),
        ([], "write a list of methods, such as .ft, kd., or null"),
        ("ft", "write a list of methods"),
    ],
)
def test_a_students_methods_are_known_ones(methods, message):
    with pytest.raises(CodekdError, match=message):
        folders(edited(students__ONE__methods=methods))


def test_a_student_without_a_method_of_the_grid_has_no_cells_and_is_not_measured():
    config = edited(inference=True)
    config["students"] = {"roberta-1.5m": {"methods": ["ckd"], "start": {"kind": "masked"}}}
    graph = Graph(load_study(config, [PATH]))
    assert not [node for node in graph if "roberta-1.5m" in node.coordinates]
    assert [*graph.report.spec["students"]] == ["bigru-1.5m"]


def test_numbers_on_a_task_make_again_what_is_trained_on_it_alone():
    assert made(students__ONE__by_task={"clone": {"epochs": 9}}) == cells("clone", student="roberta-1.5m") | REPORT
    plain, own = (
        Graph(load_study(edited(**changes), [PATH])).stage("students")
        for changes in ({}, {"students__ONE__by_task": {"clone": {"epochs": 9}}})
    )
    [before], [after] = (
        [one.spec["training"] for one in found if one.path.startswith("students/clone/none/roberta-1.5m/ft")]
        for found in (plain, own)
    )
    assert after == before | {"epochs": 9}, "all other numbers are those of every task"
    taught = made(teachers={"minilm": {"by_task": {"defect": {"epochs": 1}}}})
    assert {path.split("/")[1] for path in taught - REPORT} == {"defect"} and "teachers/defect/minilm" in taught


@pytest.mark.parametrize(
    ("by_task", "message"),
    [
        ({"clon": {"epochs": 1}}, "students.roberta-1.5m.by_task.clon: there is no 'clon'; did you mean 'clone'"),
        ({"clone": {"epoch": 1}}, "by_task.clone.epoch: unknown key; did you mean 'epochs'"),
        ({"clone": {"epochs": 0}}, "by_task.clone.epochs: "),
        (None, "write training numbers by task"),
        ({"clone": 3}, "write training numbers by task, such as `.exception: .epochs: 2"),
        ([], "write training numbers by task"),
        ({"clone": {"class_weights": {"different": 1.0, "clones": 2.0}}}, "there is no 'clones'; did you mean 'clone'"),
    ],
)
def test_numbers_on_a_task_are_checked(by_task, message):
    with pytest.raises(CodekdError, match=message):
        folders(edited(students__ONE__by_task=by_task))


def test_numbers_on_a_task_are_left_alone_where_those_for_all_are_wrong():
    with pytest.raises(CodekdError) as caught:
        folders(edited(students__ONE={"training": {"epoch": 1}, "by_task": {"clone": {"epochs": 3}}}))
    assert str(caught.value).count("\n") == 0, "one mistake, one line"


def test_a_search_tries_its_values_where_a_task_has_numbers_of_its_own():
    changes = {"students__ONE__by_task": {"clone": {"epochs": 9}}, "search": {"training": {"epochs": [3, 4]}}}
    trials = Graph(load_study(edited(**changes), [PATH])).stage("trials")
    assert {one.spec["training"]["epochs"] for one in trials if one.coordinates[0] == "clone"} == {3, 4}


def test_a_method_that_no_student_of_the_grid_has_is_refused():
    limited = {"students__ONE__methods": ["ft", "kd"], "grid__students": ["roberta-1.5m"]}
    with pytest.raises(CodekdError, match=r"grid\.methods\.2: no student of the grid is trained with dist: add it to"):
        folders(edited(**limited))


def test_a_head_that_no_method_of_a_student_reuses_is_not_measured():
    methods = ["ft", "kd", "simkd"]
    few = edited(grid__methods=methods, inference=True, students__ONE__methods=["ft", "kd"])
    heads = {one.coordinates[2:] for one in Graph(load_study(few, [PATH])).stage("inference")}
    assert heads == {("roberta-1.5m",), ("bigru-1.5m",), ("bigru-1.5m", "reused-head")}


def test_a_student_of_lexemes_needs_no_tokenizer_and_no_tasks_limit_of_tokens_cuts_it():
    config = edited(grid__students=["roberta-1.5m", "bigru-1.5m", "lexical-0.7m"])
    graph = Graph(load_study(config, [PATH]))
    new = {node.path for node in graph if str(node.folder) not in BEFORE}
    encoded = {f"encoded/{task}/lexemes-128" for task in TASKS}
    assert {name for name in new if not name.startswith("students/")} == REPORT | encoded | {
        f"inference/{task}/minilm/lexical-0.7m" for task in TASKS
    }
    assert all("/lexical-0.7m/" in name for name in new if name.startswith("students/"))
    for node in graph.stage("encoded"):
        if node.path in encoded:
            assert node.parents.keys() == {"examples"} and node.entries == ("codekd.data.encode_lexemes",)
            assert node.spec.keys() == {"max_length", "language", "columns", "has_hole", "classes"}
    shorter = made(grid__students=["lexical-0.7m"], students={"lexical-0.7m": {"max_length": 64}})
    assert {name for name in shorter if name.startswith("encoded")} == {f"encoded/{task}/lexemes-64" for task in TASKS}
    tokens = made(grid__students=["lexical-0.7m"], tasks__clone={"max_length": 64})
    assert "encoded/clone/lexemes-128" in tokens and "encoded/clone/minilm-64" in tokens


def test_the_lexer_is_in_the_source_of_what_reads_lexemes_alone():
    graph = Graph(load_study(edited(grid__students=["bigru-1.5m", "lexical-0.7m"]), [PATH]))
    for node in graph.stage("encoded"):
        assert ("codekd.data.lexer" in closure(frozenset(node.entries))) == ("lexemes" in node.path)
        assert ("codekd.data.bpe" in closure(frozenset(node.entries))) is False
    for node in graph.stage("teachers"):
        assert "codekd.data.lexer" not in closure(frozenset(node.entries))


def test_the_spec_of_a_student_names_what_it_reads_alone():
    graph = Graph(load_study(edited(grid__students=["bigru-1.5m", "lexical-0.7m"]), [PATH]))
    for node in graph.stage("students"):
        reads = node.spec["architecture"].keys() & {"vocabulary_size", "lexemes"}
        assert reads == ({"lexemes"} if "lexical" in node.path else {"vocabulary_size"})


def test_a_method_on_relations_adds_one_capture_for_students_of_the_same_depth():
    students = ("roberta-1.5m", "bigru-1.5m")
    expected = REPORT.copy()
    for task in TASKS:
        expected |= {f"students/{task}/minilm/{student}/ckd/seed1" for student in students}
        relations = f"{task}/minilm/relations-lexeme-w10-l2"
        expected |= {f"syntax/{task}", f"signals/{relations}", f"verified/{relations}"}
    assert made(grid__methods=["ft", "kd", "dist", "ckd"]) == expected
    by_token = made(grid__methods=["ckd"], methods={"ckd": {"units": "token"}})
    assert not {name for name in by_token if name.startswith("syntax/")}
    assert "signals/clone/minilm/relations-token-w10-l2" in by_token


def test_a_method_that_reuses_the_teachers_head_reads_its_folder():
    graph = Graph(load_study(edited(grid__methods=["kd", "simkd"]), [PATH]))
    for node in graph.stage("students"):
        task, teacher, _, method, _ = node.coordinates
        expected = {f"teachers/{task}/{teacher}"} if method == "simkd" else set()
        found = {str(parent.folder) for role, parent in node.parents.items() if role == "teacher"}
        assert {folder.rpartition("-")[0] for folder in found} == expected


@pytest.mark.parametrize("method", ["pkd", "fitnets", "mgskd", "ckd", "ast"])
def test_a_student_deeper_than_its_teacher_is_refused_before_anything_runs(method):
    deep = {"preset": "bigru-1.5m", "layers": 7}
    config = edited(grid__methods=["kd", "rkd", method], grid__students=["deep"], students__deep=deep)
    cell = rf"grid: {method} for deep from minilm on exception: a student of 7 layers .* from a teacher of 6: choose"
    with pytest.raises(CodekdError, match=cell):
        Graph(load_study(config, [PATH]))


def test_a_method_that_is_void_on_a_task_is_refused_with_the_reason():
    with pytest.raises(CodekdError, match=r"grid: lskd for .* from minilm on clone: lskd on two classes keeps only"):
        Graph(load_study(edited(grid__methods=["lskd"]), [PATH]))


def test_a_new_teacher_adds_its_nodes_and_ft_stays_as_it_is():
    config = edited(
        grid__teachers=["minilm", "other"],
        teachers__other={"preset": "minilm", "training": {"epochs": 1}},
    )
    new = {folder.rpartition("-")[0] for folder in folders(config) - BEFORE}
    assert not [name for name in new if "/ft/" in name]
    assert {name for name in new if name.startswith("teachers/")} == {f"teachers/{task}/other" for task in TASKS}


def test_a_smaller_train_split_changes_everything_after_it():
    found = made(tasks__exception__examples={"train": 100})
    assert {
        "examples/exception",
        "floors/exception",
        "teachers/exception/minilm",
        *cells("exception"),
    } <= found
    assert not [name for name in found if "/clone" in name or "/defect" in name]


def test_a_shorter_window_encodes_anew_what_stays_the_same_examples():
    found = made(tasks__exception__max_length=64)
    assert found == cells("exception") | REPORT | {
        "encoded/exception/minilm-64",
        "encoded/exception/bpe2000-64",
        "floors/exception/minilm",
        "teachers/exception/minilm",
        "signals/exception/minilm/logits",
        "verified/exception/minilm/logits",
        *(f"inference/exception/{pair}" for pair in PAIRS),
    }
    assert not {
        name for name in made(tasks__exception__max_length=10_000) if name.startswith("encoded/") and "10000" in name
    }


def test_a_grid_without_a_task_of_a_vocabulary_group_still_learns_the_same_vocabulary():
    assert made(grid__tasks=["defect"]) == REPORT


def test_two_classes_drop_the_term_of_dist_that_is_constant():
    graph = Graph(load_study(edited(), [PATH]))
    betas = {
        node.coordinates[0]: with_defaults(node.spec)["method"]["beta"]
        for node in graph.stage("students")
        if node.spec["method"]["kind"] == "dist"
    }
    assert betas == {"exception": 1.0, "clone": 0.0, "defect": 0.0}


def test_parents_come_before_children_and_the_report_last():
    seen = set()
    for node in Graph(load_study(edited(), [PATH])):
        assert {parent.identity for parent in node.parents.values()} <= seen
        seen.add(node.identity)
    assert node.stage == "report"


def test_a_paper_sized_grid_has_a_node_a_cell():
    config = edited(
        grid__teachers=["minilm", "other"],
        teachers__other={"preset": "minilm", "training": {"epochs": 1}},
        grid__students=[
            "roberta-124m",
            "roberta-30m",
            "roberta-7m",
            "roberta-1.5m",
            "roberta-0.6m",
            "bigru-30m",
            "bigru-7m",
            "bigru-1.5m",
        ],
        grid__methods=["ft", "pseudo", "kd", "dist", "kd-paper"],
        grid__seeds=[1, 2, 3, 4, 5],
    )
    graph = Graph(load_study(config, [PATH]))
    assert len(graph.stage("students")) == 3 * 8 * 5 * (2 * 4 + 1)


@pytest.mark.parametrize(
    "name",
    [
        *("config", "smoke", "methods", "embedded-full"),
        *("published/students", "published/lexical", "published/transfer", "published/starts"),
    ],
)
def test_every_config_that_is_shipped_is_a_study(name):
    path = ROOT / "config" / f"{name}.yaml"
    assert Graph(load_study(yaml.safe_load(path.read_text()), [path])).stage("students")


@pytest.mark.parametrize("name", ["students", "lexical", "transfer", "starts"])
def test_published_studies_find_teachers_and_logits_of_the_default_study(name):
    default, published = (
        Graph(load_study(yaml.safe_load(path.read_text()), [path]))
        for path in (ROOT / "config" / "config.yaml", ROOT / "config" / "published" / f"{name}.yaml")
    )
    known = default.by_folder
    for node in published:
        if node.stage in ("corpus", "examples", "teachers", "floors") or node.path.endswith("/logits"):
            assert str(node.folder) in known, node.path


def test_the_comparison_of_methods_leaves_none_out_and_shares_its_teacher_with_that_of_teachers():
    path = ROOT / "config" / "methods.yaml"
    graph = Graph(load_study(yaml.safe_load(path.read_text()), [path]))
    found = {node.spec["method"]["kind"] for node in graph.stage("students")}
    assert set(components.kinds("methods")) - found == {"contrast"}, "which is about pairs whose sides are apart"
    of_teachers = folders(yaml.safe_load((ROOT / "config" / "two-teachers.yaml").read_text()))
    assert {str(node.folder) for node in graph.stage("teachers")} <= of_teachers


def test_how_fast_a_model_answers_depends_on_the_model_and_not_on_how_it_was_taught():
    def measured(**changes):
        graph = Graph(load_study(edited(inference=True, **changes), [PATH]))
        return {"/".join(node.coordinates): node.identity for node in graph.stage("inference")}

    before = measured()
    assert set(before) == {f"{task}/{pair}" for task in TASKS for pair in PAIRS}
    assert measured(methods={"kd": {"temperature": 9.0}}, grid__seeds=[4], training={"epochs": 1}) == before
    wider = measured(students={"bigru-1.5m": {"hidden": 200}})
    assert {name for name in before if wider[name] != before[name]} == {f"{task}/minilm/bigru-1.5m" for task in TASKS}
    other = {"other": {"preset": "minilm", "training": {"epochs": 1}}}
    more = measured(grid__teachers=["minilm", "other"], grid__students=["bigru-1.5m", "roberta-0.6m"], teachers=other)
    assert len(more) == 3 * 2 * 2
    assert more.items() & before.items() == {
        (f"{task}/minilm/bigru-1.5m", before[f"{task}/minilm/bigru-1.5m"]) for task in TASKS
    }
    assert not Graph(load_study(edited(inference=False), [PATH])).stage("inference"), (
        "nothing is measured that nobody asked for"
    )


def test_a_student_with_its_teachers_head_is_another_model_to_serve():
    def measured(*methods):
        graph = Graph(load_study(edited(inference=True, grid__methods=[*methods], grid__tasks=["defect"]), [PATH]))
        return {"/".join(node.coordinates[1:]): node.spec["reuses_head"] for node in graph.stage("inference")}

    plain, reusing = dict.fromkeys(PAIRS, False), {f"{pair}/reused-head": True for pair in PAIRS}
    assert measured("ft", "kd") == plain
    assert measured("ft", "simkd") == plain | reusing
    assert measured("simkd") == reusing


def test_a_limit_of_states_makes_again_what_makes_and_reads_states():
    grid = {"grid__methods": ["ft", "kd", "pkd"], "grid__students": ["bigru-1.5m"]}
    before = Graph(load_study(edited(**grid), [PATH]))
    after = Graph(load_study(edited(**grid, tasks__clone__examples__unlabeled_states=5), [PATH]))
    changed = {node.path for node in after if str(node.folder) not in before.by_folder}
    assert changed == REPORT | {
        *("signals/clone/minilm/pooled", "verified/clone/minilm/pooled"),
        "students/clone/minilm/bigru-1.5m/pkd/seed1",
    }
    limits = {(node.stage, node.spec.get("unlabeled_states"), node.spec.get("unlabeled")) for node in after}
    assert limits >= {("signals", 5, None), ("verified", 5, None), ("students", None, 5)}
    labelled = edited(**grid, methods__pkd__transfer="labelled", tasks__clone__examples__unlabeled_states=5)
    (student,) = (
        node for node in Graph(load_study(labelled, [PATH])) if node.path.endswith("clone/minilm/bigru-1.5m/pkd/seed1")
    )
    assert "unlabeled" not in student.spec


def test_a_student_may_learn_from_fewer_unlabelled_examples_at_no_cost_to_others():
    grid = {"grid__methods": ["ft", "ft-long", "kd", "pkd"], "grid__students": ["bigru-1.5m", "roberta-1.5m"]}
    grid |= {"tasks__clone__examples__unlabeled_states": 5}
    before = Graph(load_study(edited(**grid), [PATH]))
    after = Graph(load_study(edited(**grid, **{"students__bigru-1.5m": {"unlabeled": 7}}), [PATH]))
    changed = {node.path: node.spec.get("unlabeled") for node in after if str(node.folder) not in before.by_folder}
    least = {("clone", "pkd"): None}  # it is 5 already
    assert changed == dict.fromkeys(REPORT) | {
        f"students/{task}/{teacher}/bigru-1.5m/{method}/seed1": 7
        for task in ("exception", "clone", "defect")
        for teacher, method in (("none", "ft-long"), ("minilm", "kd"), ("minilm", "pkd"))
        if (task, method) not in least
    }


def test_a_key_that_is_taken_out_of_a_definition_is_known_where_one_is_misspelt():
    with pytest.raises(CodekdError, match=r"bigru-1.5m.unlabelled: unknown key; did you mean 'unlabeled'"):
        load_study(edited(**{"students__bigru-1.5m": {"unlabelled": 7}}), [PATH])
    with pytest.raises(CodekdError, match=r"minilm.by_tasks: unknown key; did you mean 'by_task'"):
        load_study(edited(teachers={"minilm": {"by_tasks": {}}}), [PATH])


@pytest.mark.parametrize("wrong", [-1, True, "many", 1.5])
def test_what_is_no_number_of_unlabelled_examples_is_refused(wrong):
    with pytest.raises(CodekdError, match=r"students.bigru-1.5m.unlabeled: write a number of unlabelled examples"):
        load_study(edited(**{"students__bigru-1.5m": {"unlabeled": wrong}}), [PATH])
