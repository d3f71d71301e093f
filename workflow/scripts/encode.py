"""Turn a task's examples into token sequences."""

from codekd.data.encode import run
from codekd.study.stage import main

if __name__ == "__main__":
    main(run)
