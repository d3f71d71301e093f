"""Write tables, figures and the report (run by Snakemake: its job is longer than a command line may be)."""

from pathlib import Path

from codekd.analysis.report import run
from codekd.study.stage import execute

execute(run, snakemake.params.job, Path(snakemake.output.manifest), Path(snakemake.log[0]), ".safetensors")  # noqa: F821
