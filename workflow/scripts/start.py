"""Make the initial weights of a student with a `start`."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.training.start import run

if __name__ == "__main__":
    main(run)
