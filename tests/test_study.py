"""The smoke study from the first wheel to the report, then what a second run does: nothing, whatever is touched."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import polars as pl
import pytest
import yaml
from checkout import ROOT, Checkout
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from codekd.analysis.report import FIGURES
from codekd.cli import app

NOTHING = "Nothing to be done"


class Study(Checkout):
    """A copy of the project with a finished study: of the smoke study's students one."""

    def __init__(self, folder):
        super().__init__(folder)
        config = folder / self.config
        config.write_text(config.read_text().replace("[roberta-1.5m, bigru-1.5m]", "[bigru-1.5m]"))
        self.log = self.snakemake("all")

    def folders(self, pattern):
        return sorted(path.parent for path in self.results.glob(f"{pattern}/manifest.json"))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Study(tmp_path_factory.mktemp("checkout"))


def test_the_start_says_what_it_will_do_and_the_end_where_the_report_is(study):
    assert re.search(r"smoke: 54 nodes to make \(.*12 students.*\): about \d+ min", study.log)
    [report] = study.folders("report/*")
    assert f"The report: {report.relative_to(study.folder)}/index.html" in study.log


def test_every_cell_is_a_model_that_loads_and_predicts_what_it_wrote(study):
    import numpy as np
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from codekd.data.batches import load_encoded
    from codekd.models import register  # noqa: F401  (registers the classes)
    from codekd.models.device import Device
    from codekd.models.inference import predict

    cells = study.folders("students/*/*/*/*/*")
    assert len(cells) == 12
    by_identity = {
        json.loads((path / "manifest.json").read_text())["identity"]: path for path in study.folders("encoded/*/*")
    }
    for cell in cells:
        manifest = json.loads((cell / "manifest.json").read_text())
        model = AutoModelForSequenceClassification.from_pretrained(cell, local_files_only=True)
        assert len(AutoTokenizer.from_pretrained(cell)) == 500
        assert model.num_parameters() == json.loads((cell / "metrics.json").read_text())["parameters"]
        test = load_encoded(by_identity[manifest["parents"]["encoded"]], ["test"])
        predictions = pl.read_parquet(cell / "predictions.parquet")
        assert predictions["id"].to_list() == test.ids
        logits = predict(model, test, Device(torch.device("cpu"), torch.float32))
        np.testing.assert_allclose(np.array(predictions["logits"].to_list()), logits, atol=0.1)


def test_every_file_and_column_stands_on_the_page_of_files(study):
    page = re.sub(r"```.*?```", "", (ROOT / "docs" / "files.md").read_text(), flags=re.DOTALL)
    named = set(re.findall(r"`([^`]+)`", page))
    tables = set(re.findall(r"`(\w+)`", page[page.index("| table | a row is |") :]))
    shards = {f"{split}-00000.parquet" for split in ("train", "valid", "test", "unlabeled")}
    for manifest in study.results.glob("[!.]*/**/manifest.json"):
        stage, found = manifest.relative_to(study.results).parts[0], json.loads(manifest.read_text())
        assert found.keys() <= named, found.keys() - named
        assert stage in named or stage == "report"
        for name in found["files"]:
            if stage == "report":
                assert name == "index.html" or name.startswith("figures/") or Path(name).stem in tables, name
                continue
            assert name in named or (stage == "signals" and name in shards), (stage, name)
            if name.endswith(".parquet") and stage not in ("signals", "syntax"):
                columns = pl.read_parquet_schema(manifest.parent / name).keys()
                assert set(columns) <= named, (stage, name, set(columns) - named)


def test_a_node_is_found_and_made_by_its_name(study):
    name = "students/defect/minilm/bigru-1.5m/dist/"
    done = CliRunner().invoke(app, ["path", name, "--manifest", "--config", str(study.folder / study.config)])
    [target] = done.stdout.split()
    assert (study.folder / target).exists() and NOTHING in study.snakemake(target)
    done = CliRunner().invoke(app, ["path", "students/*/dist/*", "--config", str(study.folder / study.config)])
    assert len(done.stdout.split()) == 3
    refused = CliRunner().invoke(app, ["path", "student/x", "--config", str(study.folder / study.config)])
    assert refused.exit_code == 1 and "no node of the study is called student/x" in refused.output


def test_every_model_has_a_card_and_names_for_its_classes(study):
    from transformers import AutoConfig

    from codekd.models import register  # noqa: F401  (registers the classes)

    [student] = study.folders("students/defect/minilm/bigru-1.5m/ckd/*")
    [teacher] = study.folders("teachers/defect/*")
    for folder, told in ((student, "with the method `ckd` it learned from"), (teacher, "to teach smaller models")):
        assert AutoConfig.from_pretrained(folder).id2label == {0: "clean", 1: "defect"}
        card = ModelCard.load(folder / "README.md")
        stated = json.loads((folder / "metrics.json").read_text())["scores"]
        results = {(one.dataset_split, one.metric_type): one.metric_value for one in card.data.eval_results}
        assert results["test", "accuracy"] == stated["test"]["accuracy"]
        assert card.data.library_name == "transformers" and told in card.content


def test_signals_are_the_teachers_logits_for_every_example(study):
    import numpy as np

    from codekd.signals.format import read_signal

    for teacher in study.folders("teachers/*/*"):
        predictions = pl.read_parquet(teacher / "predictions.parquet")
        [signal] = study.folders(f"signals/{teacher.parent.name}/*/logits-*")
        rows = read_signal(signal, ["test"], "logits", predictions["id"].to_list())
        np.testing.assert_allclose(rows.values, np.array(predictions["logits"].to_list(), dtype=np.float32), atol=0.1)


def test_no_package_and_no_example_is_in_two_splits(study):
    for folder in study.folders("examples/*"):
        frames = {
            split: pl.read_parquet(folder / f"{split}.parquet") for split in ("train", "valid", "test", "unlabeled")
        }
        groups = {split: set(frame["group"]) for split, frame in frames.items()}
        assert not groups["train"] & groups["valid"]
        assert not groups["train"] & groups["test"]
        assert not groups["valid"] & groups["test"]
        assert not groups["unlabeled"] & (groups["valid"] | groups["test"])
        ids = pl.concat([frame["id"] for frame in frames.values()])
        assert ids.n_unique() == len(ids)


def test_the_report_is_one_page_that_holds_tables_and_figures(study):
    [report] = study.folders("report/*")
    page = (report / "index.html").read_text()
    assert page.split('id="datatables"')[0].count("<svg") == len(FIGURES) - 2, "no times of inference were measured"
    assert "bigru-1.5m" in page
    assert not re.search(r'(src|href)="https?://', page)
    assert len(pl.read_csv(report / "tables/cells.csv")) == 12


def test_snakemakes_own_report_holds_the_results_with_captions(study):
    study.snakemake("--report", "report.zip", "all")
    assert (study.folder / "report.zip").stat().st_size > 100_000
    [report] = study.folders("report/*")
    written = {path.name for kind in ("tables/*.csv", "figures/*.svg") for path in report.glob(kind)}
    with zipfile.ZipFile(study.folder / "report.zip") as packed:
        assert written <= {Path(name).name for name in packed.namelist()}


def test_a_second_run_has_nothing_to_do(study):
    assert NOTHING in study.snakemake("all")


def test_touching_everything_and_losing_snakemakes_memory_changes_nothing(study):
    for path in study.folder.rglob("*"):
        path.touch()
    assert NOTHING in study.snakemake("all")
    shutil.rmtree(study.folder / ".snakemake")
    assert NOTHING in study.snakemake("all")
    for path in sorted(study.folder.rglob("*"), reverse=True):
        path.touch()
    assert NOTHING in study.snakemake("all")


def test_a_job_on_a_cluster_whose_nodes_were_made_meanwhile_ends_well(study):
    def written():
        return {path: (path / "manifest.json").read_bytes() for path in study.folders("signals/defect/minilm/*")}

    before = written()
    rule = "capture+defect+minilm"
    study.snakemake(
        *("--mode", "remote", "--target-jobs", f"{rule}:", "--allowed-rules", rule, "--force", "--no-hooks", "--nolock")
    )
    assert written() == before


def test_a_clone_with_the_results_copied_has_nothing_to_do(study, tmp_path):
    clone = Checkout(tmp_path)
    shutil.copy(study.folder / study.config, tmp_path / study.config)
    shutil.copytree(study.folder / "results", tmp_path / "results")
    assert NOTHING in clone.snakemake("all")


def test_comments_docstrings_and_formatting_change_nothing_code_does(study):
    source = study.folder / "src/codekd/methods/dist.py"
    before = source.read_text()
    try:
        source.write_text("# a comment\n" + before.replace('"""', '"""Another word. ', 1))
        assert study.would_run() == set()
        source.write_text(before + "\n\nSMALL = 1e-3\n")
        assert study.would_run() == dist_cells() | {"report/smoke"}
    finally:
        source.write_text(before)
    assert NOTHING in study.snakemake("all")


def test_a_number_of_one_method_runs_its_cells_and_reverting_nothing(study):
    config = study.folder / "config/smoke.yaml"
    before = config.read_text()
    try:
        config.write_text(before + "\nmethods: {dist: {gamma: 2.0}}\n")
        assert study.would_run() == dist_cells() | {"report/smoke"}
        config.write_text(yaml.safe_dump(yaml.safe_load(before)))
        assert study.would_run() == set(), "order and layout of the file do not count"
    finally:
        config.write_text(before)


def dist_cells():
    return {f"students/{task}/minilm/bigru-1.5m/dist/seed1" for task in ("exception", "clone", "defect")}


def test_a_bad_config_is_one_paragraph_and_exit_code_1(study):
    path = study.folder / "config/bad.yaml"
    path.write_text((study.folder / "config/smoke.yaml").read_text().replace("[ft, dist, pkd, ckd]", "[ft, dits]"))
    out = study.snakemake("-n", "all", config="config/bad.yaml", check=False)
    assert "config/bad.yaml, line 8: grid.methods.1: there is no 'dits'; did you mean 'dist'?" in out
    assert "Traceback" not in out


def test_one_pass_captures_and_one_verifies_all_signals_of_a_teacher(study):
    for task in ("exception", "clone", "defect"):
        captured = {path.name[:-13]: path for path in study.folders(f"signals/{task}/minilm/*")}
        assert set(captured) == {"logits", "pooled", "relations-lexeme-w10-l2"}
        started = {json.loads((path / "manifest.json").read_text())["started"] for path in captured.values()}
        assert len(started) == 1
        for path in study.folders(f"verified/{task}/minilm/*"):
            summary = json.loads((path / "manifest.json").read_text())["summary"]
            assert 0 <= summary["difference"] < summary["tolerance"]


def test_a_method_with_another_signal_captures_that_one_alone(study, tmp_path):
    path = study.folder / "config/token.yaml"
    smoke = (study.folder / "config/smoke.yaml").read_text()
    path.write_text(smoke + "\nmethods: {ckd: {units: token}}\n")
    made = study.would_run("config/token.yaml")
    assert {name for name in made if name.startswith("signals/")} == {
        f"signals/{task}/minilm/relations-token-w10-l2" for task in ("exception", "clone", "defect")
    }


def test_a_shard_with_one_bit_flipped_stops_the_student_that_reads_it_and_no_other(study):
    [signal] = study.folders("signals/clone/minilm/pooled-*")
    [cell] = study.folders("students/clone/minilm/bigru-1.5m/pkd/*")
    [other] = study.folders("students/clone/minilm/bigru-1.5m/dist/*")
    shard = signal / "unlabeled-00000.parquet"
    content = shard.read_bytes()
    shard.write_bytes(content[:2000] + bytes([content[2000] ^ 1]) + content[2001:])
    shutil.rmtree(cell)
    shutil.rmtree(other)
    out = study.snakemake("all", "--keep-going", check=False)
    assert "What failed or was stopped:\nstudents clone/minilm/bigru-1.5m/pkd/seed1 (results/logs/" in out
    assert f"{shard.relative_to(study.folder)} is not what was written there" in out
    assert not list(cell.glob("*"))
    assert (other / "manifest.json").exists()
    shutil.rmtree(signal)
    study.snakemake("all")
    assert shard.read_bytes() == content
    assert NOTHING in study.snakemake("all")
