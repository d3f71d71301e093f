"""Train one student with one candidate of a search, and score it on the validation split."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.training.trial import run

if __name__ == "__main__":
    main(run)
