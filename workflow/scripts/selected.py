"""Choose among trials."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.training.selected import run

if __name__ == "__main__":
    main(run)
