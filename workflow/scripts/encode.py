"""Encode a task's examples as sequences of tokens, or of lexemes."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.data.encoded import run

if __name__ == "__main__":
    main(run)
