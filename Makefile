# codekd: `make study` leaves a finished study, `make test` checks everything. See README.md.

VENV := .venv
PYTHON ?= python3
CORES ?= all
CONFIG ?= config/config.yaml
SOURCES := src tests benchmarks workflow/scripts

export OMP_NUM_THREADS ?= 1
# Snakemake and others keep what they fetch below the home folder, where there is one that can be written.
ifeq ($(shell test -w "$$HOME" && echo yes),)
export XDG_CACHE_HOME ?= $(CURDIR)/.cache
export HF_HOME ?= $(CURDIR)/.cache/huggingface
export MPLCONFIGDIR ?= $(CURDIR)/.cache/matplotlib
endif
export TOKENIZERS_PARALLELISM ?= false
# Modules are compiled once and kept, also where the shell forbids it, as in many containers: every job imports torch.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup study test test-cluster torture bench format clean

help: ## List the targets.
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.done ## Create the environment in .venv from pinned requirements.

$(VENV)/.done: envs/requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --disable-pip-version-check --quiet --no-compile --requirement envs/requirements.txt
	$(VENV)/bin/pip install --disable-pip-version-check --quiet --no-deps --editable .
	$(VENV)/bin/python -c "import snakemake.cli, codekd.analysis.report, codekd.training.student"  # compiles them
	@touch $@

study: setup ## Run the study of CONFIG (config/config.yaml) and say where its report is.
	$(VENV)/bin/snakemake --cores $(CORES) all --configfile $(CONFIG)
	@echo "The report: $$($(VENV)/bin/codekd report $(CONFIG))"

test test-cluster: export HF_HUB_OFFLINE = 1
test: setup ## Formatter, linters, type checker and the whole test suite.
	$(VENV)/bin/ruff format --check $(SOURCES)
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/snakefmt --check Snakefile workflow/rules
	$(VENV)/bin/snakemake --lint
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest -n 2 --dist loadfile

test-cluster: setup ## The smoke study through a real Slurm on this machine; needs root and Debian's packages.
	$(VENV)/bin/pip install --disable-pip-version-check --quiet --requirement envs/slurm.txt
	$(VENV)/bin/pytest -rs tests/cluster

torture: export HF_HUB_OFFLINE = 1
torture: setup ## Hundreds of kills, thousands of random edits, an hour of damaged inputs: two and a half hours.
	$(VENV)/bin/python tests/torture.py

bench: setup ## Measure speed, size and memory; prints ratios and writes benchmarks/results.json.
	$(VENV)/bin/python benchmarks/bench.py

format: setup ## Format everything.
	$(VENV)/bin/ruff check --fix $(SOURCES)
	$(VENV)/bin/ruff format $(SOURCES)
	$(VENV)/bin/snakefmt Snakefile workflow/rules

clean: ## Remove results and the environment; downloads in resources/ stay.
	rm -rf results .snakemake $(VENV)
