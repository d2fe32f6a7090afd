"""One file per method; names are found, not listed."""
