"""Kinds of tasks, one module each; the definition of a task names its module with `kind:`."""
