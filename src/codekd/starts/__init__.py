"""One module per start: a way to pre-train a student before any task."""
