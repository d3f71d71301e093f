"""Measure how fast models answer, one after another."""

from codekd.deploy.speed import run
from codekd.study.stage import main_together

if __name__ == "__main__":
    main_together(run)
