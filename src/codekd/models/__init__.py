"""Encoders with a classification head, as Hugging Face models."""
