"""Measurements and the stores they are made on."""
