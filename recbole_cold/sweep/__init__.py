"""Sweeps: choose the best setting of a method on pseudo-new items, then score it on ``test``."""
