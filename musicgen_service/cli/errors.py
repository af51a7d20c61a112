"""Errors that end a command with a one-sentence message."""


class UsageError(Exception):
    """The command line is invalid or must not be carried out."""


class CommandError(RuntimeError):
    """A valid command failed."""
