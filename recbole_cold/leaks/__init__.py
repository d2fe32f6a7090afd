"""Leak checks of a data set and of methods on it: ``recbole-cold check --leaks``.

``checks`` has the table of checks; each is one function in a module of its own.
"""
