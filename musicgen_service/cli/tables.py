"""What commands with subcommands and tables share."""

from collections.abc import Sequence
from typing import Any

from musicgen_service.cli.parser import Parser


def subcommand(commands: Any, name: str, summary: str, run: Any) -> Parser:
    """Add a command of a command."""
    command: Parser = commands.add_parser(name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}.")
    command.set_defaults(parser=command, run=run)
    return command


def print_table(rows: Sequence[tuple[str, ...]], sides: str) -> None:
    """Print rows with aligned columns, each to the left or to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)]
        print("  ".join(cells).rstrip())


def size(count: int) -> str:
    """Format a number of bytes with three digits and a unit."""
    number, unit = (count / 1e9, "GB") if count >= 1e9 else (count / 1e6, "MB")
    return f"{number:.{max(0, 3 - len(str(int(number))))}f} {unit}"
