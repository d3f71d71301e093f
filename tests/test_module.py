"""The workflow as a module of another one, and what its rules ask of a cluster."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from checkout import ROOT

OUTER = """\
configfile: "config/outer.yaml"

module codekd:
    snakefile: "{root}/Snakefile"
    config: config["codekd"]{prefix}

use rule * from codekd as codekd_*

rule mine:
    default_target: True
    input: rules.codekd_all.input
"""


@pytest.fixture
def outer(tmp_path):
    """A workflow of someone else's, in a folder with a space, and what Snakemake says of it."""
    folder = tmp_path / "their work"
    shutil.copytree(ROOT / "config" / "corpus", folder / "config" / "corpus")
    smoke = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    (folder / "config" / "outer.yaml").write_text(yaml.safe_dump({"codekd": smoke, "theirs": 1}))

    def snakemake(*arguments, prefix=""):
        (folder / "Snakefile").write_text(OUTER.format(root=ROOT, prefix=prefix))
        environment = os.environ | {"CODEKD_RESOURCES": str(ROOT / "resources")}
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        return folder, done.returncode, done.stdout + done.stderr

    return snakemake


def test_a_workflow_that_imports_this_one_makes_its_nodes(outer):
    folder, code, said = outer("-n")
    assert code == 0 and "codekd_student" in said, said[-2000:]
    assert not (folder / "results" / ".jobs").exists(), "a dry run writes no jobs"
    floor = re.search(r"results/floors/defect-[0-9a-f]{12}/manifest.json", said)[0]
    _, code, said = outer(floor)
    assert code == 0 and (folder / floor).exists(), said[-2000:]
    [record] = (folder / "results" / ".studies").iterdir()
    assert record.name.startswith("smoke-"), "also there a run is known by its name"
    _, code, said = outer("-n", prefix='\n    prefix: "x"')
    assert code == 1 and "import the module without a `prefix:`" in said


@pytest.mark.parametrize("profile", ["slurm", "kubernetes"])
def test_rules_that_run_no_model_get_no_gpu(profile):
    asked = yaml.safe_load((ROOT / "profiles" / profile / "config.yaml").read_text())["set-resources"]
    rules = set(re.findall(r"^rule (\w+):", (ROOT / "workflow/rules/data.smk").read_text(), re.MULTILINE)) | {
        "selected"
    }
    assert {name for name, values in asked.items() if values["gpu"] == 0} == rules - {"corpus"}, "corpora are local"


def test_every_rule_says_what_memory_and_time_it_needs():
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
    rules = re.split(r"^ *rule ?\w*:$", text, flags=re.MULTILINE)[1:]
    assert len(rules) == 18 and all("mem_mb=" in rule and "runtime=" in rule for rule in rules)
