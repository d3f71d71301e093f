"""Train the tokenizer of students, a byte-level BPE vocabulary."""

from codekd.study.stage import main, quick_imports

with quick_imports():
    from codekd.data.bpe import run

if __name__ == "__main__":
    main(run)
