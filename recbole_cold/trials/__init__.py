"""Trials: one method on one seed, described by plain values, run in any process or on Ray."""
