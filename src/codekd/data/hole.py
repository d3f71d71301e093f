"""Placeholder for the code that a model has to guess."""

HOLE = "__HOLE__"
