"""Train one student with one method and seed."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.deploy.card import with_card
    from codekd.training.student import run

if __name__ == "__main__":
    main(with_card(run))
