"""Training of teachers, starts and students by one loop."""
