"""The token that stands for the code a model has to guess."""

HOLE = "__HOLE__"
