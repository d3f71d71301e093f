"""Choose the settings of a student among the trials of a search, by validation score."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.training.selected import run

if __name__ == "__main__":
    main(run)
