"""Fit the n-gram model that every result is compared with, or the one that a teacher teaches."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.analysis import floors, taught


def run(job, folder):
    """Fit it on the labels, or on what a teacher says."""
    return (taught.run if "signals/logits" in job.parents else floors.run)(job, folder)


if __name__ == "__main__":
    main(run)
