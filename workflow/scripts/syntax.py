"""Find the lexemes and trees of a task's examples."""

from codekd.data.lexemes import run
from codekd.study.stage import main

if __name__ == "__main__":
    main(run)
