"""Measures of a model: metrics, predictions, layers, activations, latency."""
