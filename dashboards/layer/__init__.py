"""The views of the Layers page, one a file."""
