"""What ends a command with one sentence."""


class UsageError(Exception):
    """A command line that cannot be understood or must not be carried out."""


class CommandError(RuntimeError):
    """A command that was understood and failed."""
