"""Turn a task's examples into token sequences."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.data.encode import run

if __name__ == "__main__":
    main(run)
