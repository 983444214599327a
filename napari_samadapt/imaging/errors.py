"""The one error class whose message is shown to the user."""


class SamAdaptError(ValueError):
    """Says what is wrong, which value, and what to do, in plain words.

    The command line prints the message and exits with code 2; the window shows it as a notification.
    """
