"""Fine-tune a teacher on a task, or score a teacher that is not trained, or an ensemble of teachers."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.deploy.card import with_card
    from codekd.training import asked, ensemble, teacher


def run(job, folder):
    """Fine-tune or score the teacher, as its kind needs."""
    if "members" in job.spec:
        return ensemble.run(job, folder)
    return (asked.run if "signals/logits" in job.parents else with_card(teacher.run))(job, folder)


if __name__ == "__main__":
    main(run)
