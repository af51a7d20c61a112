"""A request's inputs as arguments: `name=value` pairs and options of the same names, with help and completion."""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from musicgen_service.cli.errors import UsageError
from musicgen_service.cli.files import readable_file, readable_text
from musicgen_service.cli.parser import Parser, complete_with, must_be_one_of
from musicgen_service.requests.fields import Field, allowed_numbers, names, parse_text
from musicgen_service.suggestion import did_you_mean

_METAVARS = {str: "TEXT", Path: "FILE", int: "N", float: "NUMBER"}


def parse(pairs: Iterable[str], fields: Mapping[str, Field], option: str = "-i") -> dict[str, Any]:
    """Parse `name=value` pairs, each given with an option, into inputs of their fields' types.

    A file is given as its path, with or without `@` before it, or as its address; a text that starts with `@` is read
    from that file, and with `@@` it starts with `@` itself.

    Raises
    ------
    UsageError
        For an unknown name, a name given twice, a value of the wrong type, or a file that cannot be read.
    """
    inputs: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            near = f": did you mean {name}=...?" if name in fields else "."
            raise UsageError(f"{option} {pair} is not of the form name=value{near}")
        if name not in fields:
            near = did_you_mean(name, fields)
            raise UsageError(f"There is no input '{name}'{near}: use some of {', '.join(fields)}.")
        if name in inputs:
            raise UsageError(f"{name} is given twice: leave one of them out.")
        inputs[name] = _value(name, fields[name], text)
    return inputs


def _value(name: str, field: Field, text: str) -> Any:
    if field.kind is Path:
        from musicgen_service.inputs import fetching

        path = text.removeprefix("@")
        return path if fetching.is_address(path) else readable_file(path, name)
    if field.choices:
        if text not in names(field):
            raise UsageError(must_be_one_of(name, text, names(field)))
        return field.kind(text)
    if field.kind is str:
        return _text(name, text)
    try:
        return parse_text(name, field, text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _text(name: str, text: str) -> str:
    if text.startswith("@@"):
        return text[1:]
    if not text.startswith("@"):
        return text
    return readable_text(text[1:], name, "; write @@ for a text that starts with @").removesuffix("\n")


def add_options(parser: Parser, fields: Mapping[str, Field]) -> None:
    """Add an option per input that appends a `name=value` pair; its help has description, type, bounds and default."""
    group = parser.add_argument_group(
        "inputs",
        "Each can also be given as -i NAME=VALUE, as `cog predict` takes it. @FILE reads the prompt from a file.",
    )
    for name, field in fields.items():
        # argparse formats help texts with %.
        text = f"{field.description} {described(field)}".replace("%", "%%")
        _add_option(group, name, field, f"--{name}", text)
        if "_" in name:
            _add_option(group, name, field, f"--{name.replace('_', '-')}", argparse.SUPPRESS)


def _add_option(group: argparse._ArgumentGroup, name: str, field: Field, flag: str, text: str) -> None:
    switch: dict[str, Any] = {"nargs": 0} if field.kind is bool else {"metavar": _metavar(field)}
    action = group.add_argument(flag, action=_Pair, dest="inputs", const=name, help=text, **switch)
    if field.kind is not Path:
        complete_with(action, names(field))


class _Pair(argparse.Action):
    """Appends the option's value to the pairs; an option without a value means true."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        value = "true" if self.nargs == 0 else values
        namespace.inputs = [*(namespace.inputs or []), f"{self.const}={value}"]


def _metavar(field: Field) -> str:
    return "CHOICE" if field.choices else _METAVARS[field.kind]


def described(field: Field) -> str:
    """Describe type, bounds and default of an input, in brackets."""
    if field.choices:
        kind = f"one of {', '.join(names(field))}"
    elif field.kind is Path:
        kind = "a file"
    elif field.kind is bool:
        kind = "true or false"
    elif field.kind is str:
        kind = "text"
    else:
        kind = allowed_numbers(field)
    return f"[{kind}; {'no default' if field.default is None else f'default {_shown(field.default)}'}]"


def _shown(default: Any) -> str:
    return (
        str(default).lower() if isinstance(default, bool) else f"{default:g}" if isinstance(default, float) else default
    )


class PairCompleter:
    """Completes `name=value`: names, then choices or files."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = fields

    def __call__(self, prefix: str, **_: Any) -> list[str]:
        """Return the possible completions of a word that starts with `prefix`."""
        name, equals, text = prefix.partition("=")
        if not equals:
            return [f"{name}=" for name in self._fields]
        field = self._fields.get(name)
        if field is None:
            return []
        if field.kind is Path or text.startswith("@"):
            from argcomplete.completers import FilesCompleter

            mark = "@" if text.startswith("@") else ""
            return [f"{name}={mark}{path}" for path in FilesCompleter()(text.removeprefix("@"))]
        choices = ["true", "false"] if field.kind is bool else names(field)
        return [f"{name}={choice}" for choice in choices]
