"""Intervals, tests and corrections, over arrays."""
