"""Measure time, memory and size of serving students, in turns with their teachers."""

from codekd.study.stage import main_together, quick_imports

with quick_imports():
    from codekd.deploy.speed import run

if __name__ == "__main__":
    main_together(run)
