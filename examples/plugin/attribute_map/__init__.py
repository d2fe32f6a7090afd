"""A cold-start method outside recbole_cold."""
