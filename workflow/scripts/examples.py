"""Make a task's labelled and unlabelled examples."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.data.examples import run

if __name__ == "__main__":
    main(run)
