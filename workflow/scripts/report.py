"""Write tables, figures and the report (run by Snakemake: its job is longer than a command line may be)."""

from pathlib import Path

from codekd.study.stage import execute, quick_imports

with quick_imports():
    from codekd.analysis.report import run

execute(run, Path(snakemake.params.job), Path(snakemake.output.manifest), Path(snakemake.log[0]), ".safetensors")  # noqa: F821
