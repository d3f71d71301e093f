"""One module per student architecture; a student definition names its module with `kind:`."""
