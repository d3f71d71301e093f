"""Fine-tune a teacher on a task, or see what one that is not trained, or several together, are worth."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.deploy.card import with_card
    from codekd.training import asked, ensemble, teacher


def run(job, folder):
    """Run what the kind of teacher asks for."""
    if "members" in job.spec:
        return ensemble.run(job, folder)
    return (asked.run if "signals/logits" in job.parents else with_card(teacher.run))(job, folder)


if __name__ == "__main__":
    main(run)
