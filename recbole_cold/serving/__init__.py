"""A fitted model that scores, and what is exported of it."""
