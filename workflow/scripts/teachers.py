"""Fine-tune a teacher on a task."""

from codekd.training.teacher import run

from codekd.study.stage import main

if __name__ == "__main__":
    main(run)
