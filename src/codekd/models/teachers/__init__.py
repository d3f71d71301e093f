"""One module per source of a pretrained encoder; a teacher definition names its module with `kind:`."""
