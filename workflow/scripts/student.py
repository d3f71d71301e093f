"""Train one student."""

from codekd.deploy.card import with_card
from codekd.study.stage import main
from codekd.training.student import run

if __name__ == "__main__":
    main(with_card(run))
