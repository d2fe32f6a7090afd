"""Errors that are answers to the user: one sentence each, shown without a traceback."""


class UserError(Exception):
    """What is wrong, where, and what to do, in one sentence; the command line exits with 2."""


class Diverged(UserError):
    """Training left the numbers; other runs of the same command are not concerned."""


class WriteError(UserError):
    """A file could not be written; what was written before is whole and can be continued."""
