"""The one exception a user is meant to read."""

from clarity.redact import redact


class ClarityError(Exception):
    """Bad input, in one line: what is wrong, where it is (file, row, parameter), how to mend it.

    The command line prints the message without a traceback and exits with code 2. Passwords and
    tokens of addresses in it are hidden.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(redact(str(message)))


def in_a_line(error: BaseException, longest: int | None = None) -> str:
    """What an exception says, as one line of at most so many characters."""
    return " ".join(str(error).split())[:longest]
