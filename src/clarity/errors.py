"""The one exception a user is meant to read."""


class ClarityError(Exception):
    """Bad input, in one line: what is wrong, where it is (file, row, parameter), how to mend it.

    The command line prints the message without a traceback and exits with code 2.
    """
