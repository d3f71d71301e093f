"""Train one student."""

from codekd.study.stage import main
from codekd.training.student import run

if __name__ == "__main__":
    main(run)
