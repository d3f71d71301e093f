"""Compare captured signals with the live teacher, on a sample of examples."""

from codekd.study.stage import main_together, quick_imports

with quick_imports():
    from codekd.signals.verify import run

if __name__ == "__main__":
    main_together(run)
