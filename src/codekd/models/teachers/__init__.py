"""One module per kind of teacher; a teacher definition names its module with `kind:`."""
