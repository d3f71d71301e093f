"""Fine-tune a teacher on a task, or see what the answers of one that is not trained are worth."""

from codekd.deploy.card import with_card
from codekd.study.stage import main
from codekd.training import asked, teacher


def run(job, folder):
    """Run what the kind of teacher asks for."""
    trained = "pretrained" in job.parents and "signals/logits" not in job.parents
    return (with_card(teacher.run) if trained else asked.run)(job, folder)


if __name__ == "__main__":
    main(run)
