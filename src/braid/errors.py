"""The exceptions that are messages to the user."""


class UserError(ValueError):
    """An error that the user can fix. The message names the file, row or setting and says what to do.

    The command line prints it on one line and exits with code 1. Every other exception is a bug in Braid.
    """


class Missing(UserError):
    """A row lacks a value: its cell is empty, or its file does not exist."""
