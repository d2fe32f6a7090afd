"""Data: atomic files, rows, splits, phases and episodes."""
