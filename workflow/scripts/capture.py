"""Capture what methods read of a teacher, all signals in one pass."""

from codekd.signals.capture import run
from codekd.study.stage import main_together

if __name__ == "__main__":
    main_together(run)
