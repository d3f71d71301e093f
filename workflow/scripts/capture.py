"""Capture what methods read of a teacher."""

from codekd.signals.capture import run
from codekd.study.stage import main

if __name__ == "__main__":
    main(run)
