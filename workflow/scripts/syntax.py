"""Find the lexemes and syntax trees of a task's examples."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.data.lexemes import run

if __name__ == "__main__":
    main(run)
