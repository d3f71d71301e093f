import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from sklearn.metrics import f1_score
from synthetic_study import STUDENTS, TASKS, make, write_study

from codekd.analysis import report, style
from codekd.errors import CodekdError
from codekd.study.job import Job

EXCEPTION = {"exception": TASKS["exception"]}
CLONE = {"clone": TASKS["clone"]}
TABLES = (
    "cells",
    "scores",
    "methods",
    "pairs",
    "ranks",
    "references",
    "tests",
    "types",
    "teachers",
    "architectures",
    "costs",
    "published",
)
TABLES += ("inference", "pareto", "behaviour", "reliability", "classes", "lengths", "unlearned")


def table(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / "tables" / f"{name}.parquet")


def text_of(folder: Path) -> str:
    """What a reader sees of the page, spaces collapsed."""
    page = (folder / "index.html").read_text()
    page = re.sub(r"<(style|svg|script)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def own_part(page: str) -> str:
    """The page without the library that it carries."""
    return re.sub(r'(<script type="text/plain".*?>).*?(</script>)', r"\1\2", page, flags=re.DOTALL)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Path]:
    root = tmp_path_factory.mktemp("results")
    job = write_study(root)
    return job, make(job, root, drawn=True)


def test_every_table_is_written_twice_and_every_figure_twice(study):
    _, folder = study
    written = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    tables = {f"tables/{name}.{end}" for name in TABLES for end in ("csv", "parquet")}
    files = (".png", ".svg", ".pdf", "-column.pdf")
    figures = {f"figures/{name}{end}" for name in report.FIGURES for end in files}
    assert written == tables | figures | {"index.html"}
    for name in TABLES:
        assert pl.read_csv(folder / "tables" / f"{name}.csv").shape == table(folder, name).shape


def test_cells_hold_what_metrics_json_holds(study):
    job, folder = study
    cells = table(folder, "cells")
    assert len(cells) == len(job.spec["cells"])
    row = cells.row(
        by_predicate=(pl.col("task") == "clone")
        & (pl.col("method") == "kd")
        & (pl.col("seed") == 2)
        & (pl.col("student") == "bigru-1.5m"),
        named=True,
    )
    metrics = json.loads((job.parents["students/clone/minilm/bigru-1.5m/kd/2"] / "metrics.json").read_text())
    assert row["test_f1"] == metrics["scores"]["test"]["f1"]
    assert row["train_seconds"] == metrics["train_seconds"]


def test_scores_compare_with_teacher_floor_and_plain_fine_tuning(study):
    _, folder = study
    own = (pl.col("task") == "exception") & (pl.col("student") == "bigru-1.5m")
    cells, scores = table(folder, "cells").filter(own), table(folder, "scores").filter(own)
    reached = {method: cells.filter(method=method)["test_accuracy"] for method in ("ft", "ckd")}
    teacher, floor = table(folder, "references").filter(task="exception").sort("kind", descending=True)["score"]
    row = scores.row(by_predicate=pl.col("method") == "ckd", named=True)
    assert row["score"] == pytest.approx(reached["ckd"].mean())
    assert row["std"] == pytest.approx(reached["ckd"].std())
    assert (row["teacher_score"], row["floor"]) == (teacher, floor)
    assert row["retention"] == pytest.approx(reached["ckd"].mean() / teacher)
    assert row["difference"] == pytest.approx(reached["ckd"].mean() - reached["ft"].mean())
    assert row["relative_seconds"] == pytest.approx(3 * 1.2 / 1.02)  # three times the examples, 1.18 a step
    assert row["relative_seconds_per_example"] == pytest.approx(1.2 / 1.02)
    assert row["share_of_teacher"] == STUDENTS["bigru-1.5m"] / 22_700_000
    for name in ("score", "retention", "difference"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]


def test_taught_floors_stand_beside_the_floor_and_their_teacher(tmp_path):
    job = write_study(tmp_path, EXCEPTION, teachers=("minilm", "codebert"), seeds=(1,), taught=True)
    folder = make(job, tmp_path, drawn=True)
    references, scores = table(folder, "references"), table(folder, "scores")
    assert references["kind"].to_list() == ["floor", "taught", "taught", "teacher", "teacher"]
    floor = references.filter(kind="floor")["score"][0]
    for number, teacher in enumerate(("minilm", "codebert")):
        row = references.filter(kind="taught", name=teacher).row(0, named=True)
        metrics = json.loads((job.parents[f"floors/exception/{teacher}"] / "metrics.json").read_text())
        assert row["score"] == metrics["scores"]["test"]["accuracy"]
        assert row["above_floor"] == pytest.approx(row["score"] - floor)
        assert row["score_low"] < row["score"] < row["score_high"] and row["parameters"] == 4_000 + number
        assert scores.filter(teacher=teacher)["taught_floor"].unique().to_list() == [row["score"]]
    assert scores["floor"].unique().to_list() == [floor]
    text = text_of(folder)
    assert "n-grams, taught by codebert" in text and "Taught n-grams are the same model" in text
    assert "Taught n-grams" not in text_of(make(write_study(tmp_path / "b", EXCEPTION, seeds=(1,)), tmp_path / "b"))


def test_plain_fine_tuning_is_listed_under_every_teacher(tmp_path):
    folder = make(write_study(tmp_path, EXCEPTION, teachers=("minilm", "codebert"), seeds=(1, 2)), tmp_path)
    plain = table(folder, "scores").filter(method="ft", student="bigru-1.5m")
    assert plain["teacher"].to_list() == ["minilm", "codebert"]
    assert plain["score"].n_unique() == 1
    assert plain["retention"].n_unique() == 2
    assert "exception, teacher codebert: " in text_of(folder)


def test_methods_average_their_differences_over_students(study):
    _, folder = study
    row = table(folder, "methods").row(
        by_predicate=(pl.col("task") == "defect") & (pl.col("method") == "kd"), named=True
    )
    each = table(folder, "scores").filter(task="defect", method="kd")
    assert row["difference"] == pytest.approx(each["difference"].mean())
    sure = each.filter(pl.col("p_corrected") < 0.05)["difference"]
    assert (row["above"], row["below"]) == ((sure > 0).sum(), (sure < 0).sum())
    assert row["students"] == 2


def test_methods_are_averaged_over_the_students_that_have_all_but_controls(tmp_path):
    methods = {"ft": 0.0, "kd": 0.1, "dist": 0.2, "smooth": 0.0}
    students = {"roberta-1.5m": 1_400_000, "bigru-1.5m": 1_500_000, "roberta-7m": 7_000_000}
    job = write_study(tmp_path, EXCEPTION, students=students, methods=methods, controls={"smooth": False}, seeds=(1,))
    missing = {"bigru-1.5m": "dist", "roberta-7m": "smooth"}
    few = [cell for cell in job.spec["cells"] if cell[3] == missing.get(cell[2])]
    job.spec["cells"][:] = [cell for cell in job.spec["cells"] if cell not in few]
    for cell in few:
        job.parents.pop("/".join(map(str, ["students", *cell])))
    folder = make(job, tmp_path)
    methods, scores = table(folder, "methods"), table(folder, "scores")
    others = scores["student"].n_unique() - 1
    assert others and dict(methods.select("method", "students").iter_rows()) == {
        **dict.fromkeys(("kd", "dist"), others),
        "smooth": others - 1,
    }
    assert f"kd over {others} of {others + 1} students" in text_of(folder)
    own = scores.filter(pl.col("student") != "bigru-1.5m", method="kd")
    assert methods.filter(method="kd")["difference"].item() == pytest.approx(own["difference"].mean())


def test_types_are_scored_among_all_negatives(study):
    job, folder = study
    examples = pl.read_parquet(job.parents["examples/clone"] / "test.parquet", columns=["id", "type"])
    predictions = pl.read_parquet(job.parents["teachers/clone/minilm"] / "predictions.parquet")
    among = predictions.join(examples, on="id").filter((pl.col("type") == "MT3") | (pl.col("label") == 0))
    row = table(folder, "types").row(
        by_predicate=(pl.col("method") == "teacher") & (pl.col("type") == "MT3"), named=True
    )
    assert row["f1"] == pytest.approx(f1_score(among["label"], among["prediction"]))
    assert row["examples"] == among["label"].sum()
    assert set(table(folder, "types")["task"]) == {"clone"}


def test_behaviour_is_that_of_the_predictions_and_disputes_are_with_the_same_seed(study):
    job, folder = study

    def predictions(role: str) -> pl.Series:
        return pl.read_parquet(job.parents[role] / "predictions.parquet")["prediction"]

    labels = pl.read_parquet(job.parents["teachers/defect/minilm"] / "predictions.parquet")["label"]
    teacher, agreed, right = predictions("teachers/defect/minilm"), [], []
    for seed in (1, 2, 3):
        own = predictions(f"students/defect/minilm/bigru-1.5m/kd/{seed}")
        differ = predictions(f"students/defect/none/bigru-1.5m/ft/{seed}") != teacher
        agreed.append((own == teacher).mean())
        right.append((own == labels).filter(differ).mean())
    row = table(folder, "behaviour").filter(task="defect", student="bigru-1.5m", method="kd").row(0, named=True)
    assert row["agreement"] == pytest.approx(sum(agreed) / 3)
    assert row["disputed_score"] == pytest.approx(sum(right) / 3)
    own = table(folder, "behaviour").filter(task="defect", method="ft")
    assert own["disputed_score"].to_list() == own["disputed_plain"].to_list()
    of_teacher = table(folder, "behaviour").filter(task="defect", method="teacher").row(0, named=True)
    assert of_teacher["agreement"] is None and of_teacher["brier"] > 0


def test_classes_and_lengths_add_up_to_the_whole(study):
    _, folder = study
    [score] = table(folder, "scores").filter(task="exception", student="bigru-1.5m", method="kd")["score"]
    own = {"task": "exception", "student": "bigru-1.5m", "method": "kd"}
    for name, part in (("classes", "recall"), ("lengths", "accuracy")):
        rows = table(folder, name).filter(**own)
        assert rows["examples"].sum() == 400
        assert (rows[part] * rows["examples"]).sum() / 400 == pytest.approx(score)
    lengths = table(folder, "lengths").filter(**own)
    assert (lengths["from_characters"][1:] > lengths["to_characters"][:-1]).all()


def test_the_front_is_what_nothing_beats_in_score_and_time(tmp_path):
    milliseconds = {"minilm": 40.0, "bigru-1.5m": 8.0, "roberta-1.5m": 9.0}
    folder = make(write_study(tmp_path, EXCEPTION, seeds=(1,), milliseconds=milliseconds), tmp_path)
    points = table(folder, "pareto")
    assert set(points["milliseconds"]) == {20.0, 4.0, 4.5}
    rows = list(points.iter_rows(named=True))
    for row in rows:
        beaten = [
            one for one in rows if one["score"] >= row["score"] and one["milliseconds"] <= row["milliseconds"]
            and (one["score"], one["milliseconds"]) != (row["score"], row["milliseconds"])
        ]  # fmt: skip
        assert row["on_front"] == (not beaten), row
    assert len(table(folder, "inference")) == 3 * 3 * 2, "three models in three runtimes, alone and in batches"
    assert "MFLOPs" in text_of(folder)


def test_nobody_is_right_on_what_no_student_learns(study):
    job, folder = study
    never = set(table(folder, "unlearned").filter(task="clone")["id"])
    cells = [path for role, path in job.parents.items() if role.startswith("students/clone/")]
    frames = [pl.read_parquet(path / "predictions.parquet") for path in cells]
    learned = {one for frame in frames for one in frame.filter(pl.col("prediction") == pl.col("label"))["id"]}
    assert never == set(frames[0]["id"]) - learned and never
    assert f"clone: {len(never)} of 400 test examples" in text_of(folder)


def test_the_page_states_the_findings_with_intervals(study):
    _, folder = study
    text = text_of(folder)
    assert "3 tasks (exception, defect, clone), 1 teacher (minilm), 2 students" in text
    assert "54 training runs" in text
    assert re.search(
        r"exception: the teacher minilm reaches 73\.0 \[[\d.]+, [\d.]+\] % accuracy, \+15\.0 \[\+[\d., +]+\] points",
        text,
    )
    assert re.search(
        r"exception: the best student on the validation split, .*?, keeps 79\.8 \[[\d., ]+\] % of the score of minilm "
        r"with 6\.2 %",
        text,
    )
    assert re.search(
        r"exception: better than ft: ckd \(\+5\.0 \[\+[\d.]+, \+[\d.]+\] points\); "
        r"not distinguishable from ft at this size: kd\.",
        text,
    )
    assert "What is missing" not in text


def test_the_page_is_well_formed_and_needs_nothing_else(study):
    _, folder = study
    page = own_part((folder / "index.html").read_text())
    ids: list[str] = []
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag, attributes):
            ids.extend(value for name, value in attributes if name == "id")
            if tag not in ("meta", "br", "link"):
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Checker().feed(page)
    assert not open_tags
    assert len(ids) == len(set(ids))
    assert not re.search(r'(src|href)="(https?:)?//', page)
    for link in re.findall(r'<a href="([^"#]+)"', page):
        assert (folder / link).exists()


def test_the_same_results_give_the_same_bytes(study, tmp_path):
    job, folder = study
    again = tmp_path / "again"
    again.mkdir()
    report.run(job, again)
    for path in (path for path in folder.rglob("*.*") if path.is_file()):
        assert (again / path.relative_to(folder)).read_bytes() == path.read_bytes(), path.name


def test_names_are_text_and_never_markup(tmp_path):
    name = "<b>&amp;$x"
    job = write_study(
        tmp_path,
        EXCEPTION,
        teachers=(name,),
        students={"<i>$gru_{$": 10**6},
        methods={"ft": 0.0, "<u>kd$": 0.1},
    )
    page = own_part((make(job, tmp_path, drawn=True) / "index.html").read_text())
    assert "&lt;b&gt;&amp;amp;$x" in page
    assert "&lt;i&gt;$gru_{$" in page
    assert not re.search(r"<(b|i|u)>", page)


def test_a_study_without_anything_to_compare_says_what_is_missing(tmp_path):
    job = write_study(tmp_path, EXCEPTION, teachers=(), methods={"ft": 0.0}, seeds=(1,), floors=False)
    folder = make(job, tmp_path)
    text = text_of(folder)
    assert "exception: no floor" in text
    assert "exception: no teacher" in text
    assert "no method beside ft" in text
    assert "One seed: intervals are those of these models" in text
    assert "The best student on the validation split, roberta-1.5m trained with ft" in text
    assert table(folder, "scores")["retention"].null_count() == 2
    assert table(folder, "types").is_empty()


def test_a_study_without_plain_fine_tuning_has_no_differences(tmp_path):
    folder = make(write_study(tmp_path, CLONE, methods={"kd": 0.1, "ckd": 0.2}), tmp_path)
    assert "no plain fine-tuning (ft)" in text_of(folder)
    assert table(folder, "scores")["difference"].null_count() == 4
    assert table(folder, "scores")["retention"].null_count() == 0
    assert table(folder, "methods").is_empty()


def test_a_teacher_without_predictions_is_taken_as_exact(tmp_path):
    folder = make(write_study(tmp_path, EXCEPTION, teacher_predictions=False), tmp_path)
    assert "the teacher minilm left no predictions" in text_of(folder)
    row = table(folder, "scores").row(0, named=True)
    assert row["retention_low"] == pytest.approx(row["score_low"] / row["teacher_score"])


def test_predictions_about_other_examples_are_refused(tmp_path):
    job = write_study(tmp_path, EXCEPTION)
    first, other = (
        job.parents[f"students/exception/{key}/1"] for key in ("none/roberta-1.5m/ft", "minilm/bigru-1.5m/kd")
    )
    pl.read_parquet(other / "predictions.parquet").reverse().write_parquet(other / "predictions.parquet")
    with pytest.raises(CodekdError, match="same order") as error:
        make(job, tmp_path)
    assert str(first) in str(error.value)
    assert str(other) in str(error.value)


def test_examples_without_the_predicted_ones_are_refused(tmp_path):
    job = write_study(tmp_path, CLONE)
    path = job.parents["examples/clone"] / "test.parquet"
    pl.read_parquet(path).filter(pl.col("id") != "clone-7").write_parquet(path)
    with pytest.raises(CodekdError, match=r"test\.parquet: lacks 1 of the examples .* clone-7"):
        make(job, tmp_path)


def test_a_score_that_the_predictions_do_not_have_is_refused(tmp_path):
    job = write_study(tmp_path, EXCEPTION)
    path = job.parents["teachers/exception/minilm"] / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["scores"]["test"]["accuracy"] += 0.01
    path.write_text(json.dumps(metrics))
    with pytest.raises(CodekdError, match=r"minilm-\w+: metrics.json states a test accuracy of 0.7400"):
        make(job, tmp_path)


def test_an_empty_grid_is_refused(tmp_path):
    job = write_study(tmp_path, EXCEPTION)
    with pytest.raises(CodekdError, match="no cells"):
        make(replace(job, spec={**job.spec, "cells": []}), tmp_path)


def test_a_method_looks_the_same_in_every_study():
    assert style.look("kd") == style.look("kd") != style.look("ckd")
    unknown = [style.look(f"method-{number}") for number in range(40)]
    known = [style.look(name) for name in ("ft", "kd", "dist", "pkd", "ckd", "pseudo", "rkd", "sp", "crd", "dkd")]
    assert len(set(known)) == len(known)
    assert not {look.marker for look in unknown} & {look.marker for look in known}
    assert len(set(unknown)) > 20


def test_one_seed_is_never_significant(tmp_path):
    """Not even where every method is far better than plain fine-tuning."""
    methods = {"ft": 0.0, "kd": 0.3, "ckd": 0.4}
    folder = make(write_study(tmp_path, methods=methods, teachers=("minilm", "other"), seeds=(1,)), tmp_path)
    for path in (folder / "tables").glob("*.parquet"):
        frame = pl.read_parquet(path)
        for name in (name for name in frame.columns if "p_value" in name or "p_corrected" in name):
            assert frame[name].null_count() == len(frame), (path.name, name)
    assert table(folder, "ranks")["critical_difference"].null_count() == len(table(folder, "ranks"))
    page = own_part((folder / "index.html").read_text())
    assert 'class="sure"' not in page
    text = text_of(folder)
    assert "One seed: intervals are those of these models" in text
    assert not re.search(r"better than ft:|is better than|worse than ft:|is (above|below) n-grams", text)
    assert re.search(r"against ft, of one seed and so neither better nor worse: ckd \(\+\d", text)


def test_several_seeds_are_bold_where_a_difference_is_more_than_luck(study):
    _, folder = study
    page = own_part((folder / "index.html").read_text())
    sure = table(folder, "scores").filter(pl.col("p_corrected") < 0.05)
    assert len(sure) and page.count('class="sure"') >= len(sure)
    assert "One seed" not in text_of(folder)


def test_few_groups_are_said_to_be_what_the_intervals_are_about(tmp_path, study):
    folder = make(write_study(tmp_path, EXCEPTION, packages=3), tmp_path)
    assert re.search(
        r"Few groups: the test examples of exception \(3; package0 \d+\.\d %\) come from fewer than 8", text_of(folder)
    )
    [row] = table(folder, "tests").rows(named=True)
    assert (row["unit"], row["units"], row["groups"]) == ("example", 400, 3)
    _, many = study
    assert "Few groups" not in text_of(many)
    assert set(table(many, "tests")["unit"]) == {"group"}


def test_students_stand_against_the_floor(study):
    job, folder = study
    text = text_of(folder)
    cells, scores = table(folder, "cells"), table(folder, "scores")
    floor = json.loads((job.parents["floors/defect"] / "metrics.json").read_text())["scores"]["test"]["accuracy"]
    own = cells.filter(task="defect")
    assert own["above_floor"].to_list() == pytest.approx((own["test_score"] - floor).to_list())
    row = scores.filter(task="defect", student="bigru-1.5m", method="ckd").row(0, named=True)
    assert row["above_floor"] == pytest.approx(row["score"] - floor)
    assert row["floor_p_value"] <= row["floor_p_corrected"]
    above = scores.filter(pl.col("floor_p_corrected") < 0.05, pl.col("above_floor") > 0, task="defect")
    told = text.split("Above n-grams?")[1].split("Better than")[0]
    assert re.search(rf"defect: {above['student'][0]} \([a-z, ]*ckd\).* above; ", told) and "exception: " in told


def test_the_first_screen_says_what_to_deploy(tmp_path):
    milliseconds = {"minilm": 40.0, "bigru-1.5m": 8.0, "roberta-1.5m": 9.0}
    folder = make(write_study(tmp_path, EXCEPTION, milliseconds=milliseconds), tmp_path)
    best = table(folder, "scores").sort("valid_score", descending=True).row(0, named=True)
    first = text_of(folder).split("What to deploy")[1].split("Findings")[0]
    assert f"{best['student']} trained with {best['method']} keeps {100 * best['retention']:.1f} [" in first
    kept = r"% of minilm’s accuracy with 6\.\d % of its parameters \(1\.[45]M\)"
    served = r"answers \d\.\d times as fast \(\d\.\d ms, \d\.\d MB\)"
    assert re.search(f"{kept}, {served} and is (above|below|not distinguishable from) n-grams", first)


def test_machines_that_differ_within_a_comparison_are_named(tmp_path):
    job = write_study(tmp_path, EXCEPTION)
    folder = job.parents["students/exception/minilm/bigru-1.5m/kd/2"]
    made = {
        "host": {"processor": "Other", "units": ["amx_bf16"]},
        "summary": {"device": "cpu", "precision": "bfloat16"},
    }
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | made | {"versions": {"torch": "9.9"}}))
    text = text_of(make(job, tmp_path))
    assert "made on different machines" in text
    assert "Different processors: One avx2 (9); Other amx_bf16 (1), within exception bigru-1.5m." in text
    assert "Different precisions: float32 (8); bfloat16 (1), within exception bigru-1.5m." in text
    assert "Different versions of libraries: torch 2.13.0 (9); torch 9.9 (1), within exception bigru-1.5m." in text
    assert "Different devices" not in text


def remade(folder: Path, **changes: object) -> None:
    """Change what a manifest says."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


def test_seconds_of_other_devices_and_processors_are_not_compared(tmp_path):
    job = write_study(tmp_path, EXCEPTION)
    for role, folder in job.parents.items():
        if "/kd/" in role:
            remade(folder, summary={"device": "H100"})
        if "/ckd/" in role:
            remade(folder, host={"processor": "Other"})
    folder = make(job, tmp_path)
    assert table(folder, "scores").filter(pl.col("method") != "ft")["relative_seconds"].null_count() == 4
    assert "Dearer than" not in text_of(folder)


def test_times_of_serving_from_different_machines_are_named(tmp_path):
    milliseconds = {"minilm": 40.0, "bigru-1.5m": 8.0, "roberta-1.5m": 9.0}
    job = write_study(tmp_path, EXCEPTION, milliseconds=milliseconds)
    first = next(folder for role, folder in job.parents.items() if role.startswith("inference/"))
    remade(first, host={"processor": "Other"})
    told = "were measured on different machines. Different processors: (One avx2|Other) .*, within exception."
    assert re.search(told, text_of(make(job, tmp_path)))


def test_scores_of_nothing_and_of_everything_make_a_page(tmp_path):
    """A teacher that is never right, and students that are all perfect, as n-grams are."""
    milliseconds = {"minilm": 40.0, "bigru-1.5m": 8.0, "roberta-1.5m": 9.0}
    job = write_study(tmp_path, {"defect": TASKS["defect"]}, seeds=(1,), milliseconds=milliseconds)
    for role, folder in job.parents.items():
        if (path := folder / "predictions.parquet").exists():
            wrong = role.startswith("teachers/")
            frame = pl.read_parquet(path).with_columns(prediction=pl.col("label") ^ int(wrong))
            frame.write_parquet(path)
            metrics = json.loads((folder / "metrics.json").read_text())
            reached = {"accuracy": float(not wrong), "macro_f1": float(not wrong), "f1": float(not wrong)}
            (folder / "metrics.json").write_text(json.dumps(metrics | {"scores": {"valid": reached, "test": reached}}))
    folder = make(job, tmp_path)
    text = text_of(folder)
    assert "Above n-grams? defect: all 6 score the same (one seed)." in text
    assert "reaches 100.0 % accuracy" in text and "nan" not in text
    assert table(folder, "scores")["score_low"].null_count() == 6


def test_manifests_that_say_nothing_make_a_page(tmp_path):
    job = write_study(tmp_path, EXCEPTION)
    for folder in job.parents.values():
        remade(folder, host=None, versions=None, summary=None)
    assert "Different" not in text_of(make(job, tmp_path)).split("Findings")[0]


def test_costs_are_cpu_seconds_and_on_a_gpu_those_of_the_clock(tmp_path):
    job = write_study(tmp_path, EXCEPTION)
    for role, folder in job.parents.items():
        if role.startswith("students/exception/none/bigru-1.5m"):
            manifest = json.loads((folder / "manifest.json").read_text())
            (folder / "manifest.json").write_text(json.dumps(manifest | {"summary": {"device": "H100"}}))
    scores = table(make(job, tmp_path), "scores").filter(method="ft").sort("student")
    on_gpu, on_cpu = scores["seconds"].to_list()
    assert (on_gpu, on_cpu) == (scores["wall_seconds"][0], pytest.approx(scores["wall_seconds"][1] / 1.5))
