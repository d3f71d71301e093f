"""Write tables, figures and the report (run by Snakemake: its job is longer than a command line may be)."""

from codekd.analysis.report import run
from codekd.study.stage import execute

execute(run, snakemake.params.job, snakemake.output.manifest, snakemake.log[0])  # noqa: F821
