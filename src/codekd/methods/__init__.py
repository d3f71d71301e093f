"""One module per distillation method; a method definition names its module with `kind:`."""
