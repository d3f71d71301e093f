"""Data stages: corpora of functions, labelled examples, tokenization, syntax, and the batches made of them."""
