"""Choose among trials."""

from codekd.study.stage import main
from codekd.training.selected import run

if __name__ == "__main__":
    main(run)
