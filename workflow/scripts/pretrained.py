"""Obtain the pretrained encoder of a teacher."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.models.pretrained import run

if __name__ == "__main__":
    main(run)
