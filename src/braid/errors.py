"""The one exception that is a message to the user."""


class UserError(ValueError):
    """Something the user can mend; the message names the file, row or setting and says what to do.

    The command line prints it as one line and exits with 1. Every other exception is a defect of Braid.
    """


class Missing(UserError):
    """A row lacks a value: its cell is empty, or its file does not exist."""
