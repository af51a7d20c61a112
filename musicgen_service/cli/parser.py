"""An argument parser whose errors are one sentence with a suggestion of what was probably meant."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from musicgen_service.cli.errors import UsageError
from musicgen_service.suggestion import did_you_mean


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises `UsageError` instead of printing the usage and exiting."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` with the message as a sentence."""
        raise UsageError(f"{message[:1].upper()}{message[1:]}: see `{self.prog} --help`.")

    def refuse(self, words: Sequence[str]) -> NoReturn:
        """Raise `UsageError` for unrecognised arguments."""
        first = words[0].partition("=")[0]
        if first.startswith("-"):
            near = did_you_mean(first, self._options())
            raise UsageError(f"There is no option '{first}'{near}: see `{self.prog} --help`.")
        raise UsageError(f"'{first}' is one word too many: a text of several words needs quotes around it.")

    def _options(self) -> list[str]:
        return [name for name in self._option_string_actions if name.startswith("--")]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        if isinstance(action, argparse._SubParsersAction):
            near = did_you_mean(value, choices)
            raise UsageError(f"There is no command '{value}'{near}: use one of {', '.join(choices)}.")
        name = action.option_strings[0] if action.option_strings else str(action.metavar)
        raise UsageError(must_be_one_of(name, str(value), choices))


def must_be_one_of(name: str, value: str, choices: Iterable[str]) -> str:
    """The error message for a value that is not one of the choices."""
    choices = list(choices)
    return f"{name} must be one of {', '.join(choices)}, not '{value}'{did_you_mean(value, choices)}."


def complete_with(action: argparse.Action, names: Iterable[str]) -> None:
    """Register names that the shell offers as completions of an argument."""
    known = list(names)
    action.completer = lambda **_: known  # type: ignore[attr-defined]
