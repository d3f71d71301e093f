"""Learn a student vocabulary."""

from codekd.data.bpe import run
from codekd.study.stage import main

if __name__ == "__main__":
    main(run)
