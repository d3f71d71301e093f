"""Fine-tune a teacher on a task."""

from codekd.study.stage import main
from codekd.training.teacher import run

if __name__ == "__main__":
    main(run)
