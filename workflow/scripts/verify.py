"""Compare what was captured with the live teacher."""

from codekd.signals.verify import run
from codekd.study.stage import main_together

if __name__ == "__main__":
    main_together(run)
