"""Analysis of a finished study: metrics, statistics, tables, figures and the report."""
