"""Architectures that tasks can name as factories, one family a file."""
