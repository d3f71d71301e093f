"""codekd: knowledge distillation for code understanding, as a Snakemake workflow."""
