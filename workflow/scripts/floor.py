"""Fit the n-gram model that every result is compared with."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.analysis.floors import run

if __name__ == "__main__":
    main(run)
