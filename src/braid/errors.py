"""The exceptions that are messages to the user."""


class UserError(ValueError):
    """An error that the user can fix. The message names the file, row or setting and says what to do.

    The command line prints it on one line and exits with code 1. Every other exception is a bug in Braid. A message can always be
    printed and sent: half a character, as a file name may hold it, is an escape.
    """

    def __str__(self) -> str:
        return super().__str__().encode("utf-8", "backslashreplace").decode("utf-8")


class Missing(UserError):
    """A row lacks a value: its cell is empty, or its file does not exist."""
