"""What the Snakefile imports: config models, grid, graph and identity. Standard library, pydantic and yaml only."""
