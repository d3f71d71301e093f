"""One module per kind of task; a task definition names its module with `kind:`."""
