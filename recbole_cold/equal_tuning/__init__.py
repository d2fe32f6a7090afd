"""Equal tuning: every method gets as many trials as any other, then all are scored as one table."""
