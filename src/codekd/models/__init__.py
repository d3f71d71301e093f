"""Classifiers of code as Hugging Face models: teachers, students, their tokenizers, and inference."""
