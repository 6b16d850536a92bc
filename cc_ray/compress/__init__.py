"""What is done to a model: one operation a file."""
