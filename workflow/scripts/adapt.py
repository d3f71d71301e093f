"""Train a pretrained encoder further, on code."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.training.adapt import run

if __name__ == "__main__":
    main(run)
