"""Try settings on one student."""

from codekd.study.stage import main
from codekd.training.trial import run

if __name__ == "__main__":
    main(run)
