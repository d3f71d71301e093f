"""Capture the signals of a teacher that methods learn from, all in one pass."""

from codekd.study.stage import main_together, quick_imports

with quick_imports():
    from codekd.signals.capture import run

if __name__ == "__main__":
    main_together(run)
