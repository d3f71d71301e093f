"""Signals that are captured from a teacher: one module per signal, and the Parquet format they share."""
