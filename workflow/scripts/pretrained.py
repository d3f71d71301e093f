"""Obtain a pretrained encoder."""

from codekd.models.pretrained import run
from codekd.study.stage import main

if __name__ == "__main__":
    main(run)
