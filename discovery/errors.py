"""The one exception that is meant for the person at the keyboard."""


class BadInput(Exception):
    """What was given cannot be used.

    The message says what was given, what is valid, and what to type instead. The command line
    prints it and exits with status 2, so it never needs a traceback to be understood.
    """
