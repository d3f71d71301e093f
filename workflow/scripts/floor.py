"""Fit the n-gram baseline that every result is compared with, on labels or on a teacher's predictions."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.analysis import floors, taught


def run(job, folder):
    """Fit the baseline on a teacher's predictions if its logits are given, else on labels."""
    return (taught.run if "signals/logits" in job.parents else floors.run)(job, folder)


if __name__ == "__main__":
    main(run)
