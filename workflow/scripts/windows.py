"""Cut the functions of corpora into windows of code."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.data.windows import run

if __name__ == "__main__":
    main(run)
