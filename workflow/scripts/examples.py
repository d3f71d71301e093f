"""Make a task's labelled and unlabelled examples."""

from codekd.data.examples import run
from codekd.study.stage import main

if __name__ == "__main__":
    main(run)
