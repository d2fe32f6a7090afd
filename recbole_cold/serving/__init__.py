"""A fitted model that leaves its run: scored, exported, and grown."""
