"""One module per way to pre-train a student, found by its file name."""
