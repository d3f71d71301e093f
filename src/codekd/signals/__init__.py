"""What is captured from a teacher: one module per signal, and the Parquet format they share."""
