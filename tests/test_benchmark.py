"""The figures of ``make bench`` that stand in the repository, and the README's table of them."""

import json
import re
from pathlib import Path

from codekd.study.resolve import presets

ROOT = Path(__file__).parents[1]
RESULTS = json.loads((ROOT / "benchmarks" / "results.json").read_text())
STEPS = [row for row in RESULTS["step_ratio"] if row["device"] == "cpu"]
STUDENTS = list(dict.fromkeys(row["student"] for row in STEPS))


def test_there_is_a_ratio_for_every_method_with_the_teacher_in_the_cache_and_online():
    assert STUDENTS == ["roberta-1.5m", "bigru-1.5m", "roberta-7m", "bigru-7m"]
    for student in STUDENTS:
        for teacher in ("cached", "online"):
            rows = [row for row in STEPS if (row["student"], row["teacher"]) == (student, teacher)]
            assert {row["method"] for row in rows} == presets()["methods"].keys() - {"ft"}
            assert all(row["ratio"] > 0 for row in rows)


def test_the_readme_has_the_ratios_that_were_measured():
    head, *lines = re.search(r"^\| step of .*(?:\n\|.*)+", (ROOT / "README.md").read_text(), re.MULTILINE)[
        0
    ].splitlines()
    assert re.findall("`(.+?)`", head) == STUDENTS
    for line in lines[1:]:
        name, *shown = (cell.strip() for cell in line.strip("|").split("|"))
        methods, teacher = re.findall("`(.+?)`", name), "online" if "online" in name else "cached"
        for student, ratio in zip(STUDENTS, shown, strict=True):
            found = [
                row["ratio"]
                for row in STEPS
                if (row["student"], row["teacher"]) == (student, teacher) and row["method"] in methods
            ]
            assert ratio == " to ".join(dict.fromkeys(f"{end(found):.2f}" for end in (min, max))), (name, student)
