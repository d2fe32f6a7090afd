"""A small HTTP service over a model that ``recbole-cold export`` wrote: see README.md."""
