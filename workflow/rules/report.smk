# Tables, figures and one page over all cells of the study.
REPORT = "results/report/{study}-{identity}"
CAPTIONS = "../report"
FIGURES = {
    "scores": "test scores",
    "methods": "retention by method",
    "ranks": "average ranks",
    "retention": "retention against parameters",
    "time": "training time",
    "pareto": "score against time",
    "size": "score against size",
    "agreement": "agreement with the teacher",
    "reliability": "reliability diagrams",
}
TABLES = {
    "scores": "scores",
    "methods": "methods against ft",
    "pairs": "methods against each other",
    "ranks": "average ranks",
    "references": "teachers and floors",
    "tests": "test splits",
    "teachers": "choice of teacher",
    "architectures": "transformers against recurrent students",
    "costs": "what training costs",
    "published": "beside the published scores",
    "types": "types of pairs",
    "inference": "time, size and memory of inference",
    "pareto": "score against time",
    "behaviour": "likeness to the teacher",
    "reliability": "reliability diagrams",
    "classes": "classes",
    "lengths": "lengths of code",
    "unlearned": "what no student learns",
    "cells": "all cells",
}


localrules:
    report,


rule report:
    input:
        parents("report"),
    output:
        manifest=f"{REPORT}/manifest.json",
        page=report(
            f"{REPORT}/index.html",
            caption=f"{CAPTIONS}/page.rst",
            category="Report",
            labels={"content": "the whole report"},
        ),
        figures=[
            report(
                f"{REPORT}/figures/{name}.svg",
                caption=f"{CAPTIONS}/figure-{name}.rst",
                category="Figures",
                labels={"figure": title},
            )
            for name, title in FIGURES.items()
        ],
        tables=[
            report(
                f"{REPORT}/tables/{name}.csv",
                caption=f"{CAPTIONS}/table-{name}.rst",
                category="Tables",
                labels={"table": title},
            )
            for name, title in TABLES.items()
        ],
    log:
        "results/logs/report/{study}-{identity}.log",
    benchmark:
        "results/benchmarks/report/{study}-{identity}.jsonl"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(8000),
        runtime=more_each_time(60),
    params:
        job=job("report"),
    message:
        "write the report of {wildcards.study}"
    script:
        "../scripts/report.py"
