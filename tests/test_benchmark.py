"""The figures of ``make bench`` that stand in the repository, and the README's table of them."""

import json
import re
from pathlib import Path

from codekd.study.resolve import presets

ROOT = Path(__file__).parents[1]
RESULTS = json.loads((ROOT / "benchmarks" / "results.json").read_text())
AS_OTHERS = ("smooth", "ft-long", "kd-shuffled", "kd-contrast")
"""Methods that cost what `ft` and `kd` do; the last one where no sides are apart."""


def on_cpu(section):
    return [row for row in RESULTS[section] if row["device"] == "cpu"]


STEPS = on_cpu("step_ratio")
STUDENTS = list(dict.fromkeys(row["student"] for row in STEPS))


def test_there_is_a_ratio_for_every_method_with_the_teacher_in_the_cache_and_online():
    assert STUDENTS == ["roberta-1.5m", "bigru-1.5m", "roberta-7m", "bigru-7m"]
    for student in STUDENTS:
        for teacher in ("cached", "online"):
            rows = [row for row in STEPS if (row["student"], row["teacher"]) == (student, teacher)]
            assert {row["method"] for row in rows} == presets()["methods"].keys() - {"ft", *AS_OTHERS}
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


def test_relations_are_small_and_lose_nothing():
    for row in RESULTS["relations"]:
        if row["signal"].startswith("relations"):
            assert row["times_smaller"] >= {384: 10, 768: 20}[row["width"]]
            assert row["loss_difference"] < 1e-3


def test_the_readme_has_what_else_was_measured():
    told = " ".join((ROOT / "README.md").read_text().split())
    relations = {(row["width"], row["signal"].split("-")[1]): row for row in RESULTS["relations"]}
    [_, capture], [report] = on_cpu("capture"), on_cpu("report")
    loading = {row["method"]: row for row in on_cpu("loading")}
    pairs, serving = on_cpu("pairs"), on_cpu("serving")
    large, small = relations[768, "lexeme"], relations[384, "lexeme"]
    for sentence in (
        f"{large['bytes_per_example'] / 1e3:.1f} kB an example with a teacher of width 768, "
        f"{large['times_smaller']:.0f} times less than the states of the same four layers in half precision "
        f"({relations[768, 'token']['times_smaller']:.0f} times between tokens)",
        f"{small['bytes_per_example'] / 1e3:.1f} kB and {small['times_smaller']:.0f} times less at width 384",
        f"by {large['loss_difference']:.0e} and {small['loss_difference']:.0e} of itself".replace("e-0", "e-"),
        f"{capture['examples_per_second']:.0f} functions a second, {100 * capture['forward_share']:.0f} % of the time",
        *(f"{loading[m]['seconds']:.1f} s and {loading[m]['megabytes']} MB for `{m}`" for m in ("ft", "ast")),
        f"take {sum(row['seconds'] for row in pairs)} s and {max(row['peak_megabytes'] for row in pairs) / 1e3:.1f} GB",
        f"({report['trainings']:,} trainings, 2,732 test examples) takes {report['seconds']} s, "
        f"is a page of {report['megabytes']:.1f} MB and opens in {report['seconds_to_open']:.1f} s",
        f"differ from PyTorch's by {max(row['largest_difference'] for row in serving):.0e} at most".replace(
            "e-0", "e-"
        ),
        "| one example takes | " + " | ".join(f"`{row['model']}`" for row in serving),
        "| in PyTorch, ms | " + " | ".join(f"{row['pytorch']:.1f}" for row in serving),
        *(
            f"| {name} | " + " | ".join(f"{row[key]:.2f}" for row in serving)
            for name, key in (("in ONNX, of that", "onnx_ratio"), ("in ONNX with eight bits", "int8_ratio"))
        ),
    ):
        assert sentence in told, sentence
