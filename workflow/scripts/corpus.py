"""Extract every function of a pinned list of wheels."""

from codekd.data.corpus import run
from codekd.study.stage import main

if __name__ == "__main__":
    main(run)
