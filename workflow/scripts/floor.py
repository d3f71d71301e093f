"""Fit the n-gram model that every result is compared with."""

from codekd.analysis.floors import run
from codekd.study.stage import main

if __name__ == "__main__":
    main(run)
