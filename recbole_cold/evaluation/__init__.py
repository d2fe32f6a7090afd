"""Metrics of predictions, and statistical tests over seeds."""
