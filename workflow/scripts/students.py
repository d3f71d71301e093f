"""Train one student."""

from codekd.training.student import run

from codekd.study.stage import main

if __name__ == "__main__":
    main(run)
