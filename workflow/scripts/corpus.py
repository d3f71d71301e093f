"""Extract every function of a corpus, a pinned list of wheels."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.data.corpus import run

if __name__ == "__main__":
    main(run)
