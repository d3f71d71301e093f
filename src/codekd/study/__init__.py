"""Studies: the config, the graph of nodes, their identities, and what runs and inspects them.

The Snakefile imports these modules when it is parsed, so none imports torch, transformers or polars when it is loaded.
"""
