"""Cold-start click-through-rate prediction on RecBole."""

__version__ = "0.1.0"
