"""The reference systems' API pages (tests/data/systems), read as text.

Every page has a table of inputs and a schema of the output. In the table an input without a default has
one cell less, `Min`/`Max` of 0 are not shown, and two pages show no type for an enumeration. One page also
has the schema that the table was made of.
"""

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path("tests/data/systems")
_TYPES = ("string", "integer", "number", "boolean", "None")


@dataclass(frozen=True)
class Row:
    """An input as shown in a page's table; None where the table does not show a value."""

    name: str
    kind: str | None
    is_enum: bool | None
    default: Any
    minimum: float | None
    maximum: float | None
    choices: list[str] | None
    description: str


@dataclass(frozen=True)
class Page:
    """A reference page."""

    rows: list[Row]
    inputs: dict[str, Any] | None
    """The schema of the inputs, if the page contains it."""
    output: dict[str, Any]


def read(system: str) -> Page:
    """Read the page of a system."""
    text = (FOLDER / f"{system}.txt").read_text()
    inputs, output = text.split("Output schema", 1)
    table, brace, raw = inputs.partition("\n{\n")
    rows = _rows(table.split("\n---|---|---|---|\n")[-1].split("|---|---|---|---|\n")[-1])
    schema = json.loads(brace + raw) if brace else None
    return Page(rows, schema, ast.literal_eval(output[output.index("{") : output.rindex("}") + 1]))


def _rows(table: str) -> list[Row]:
    if "|" not in table:
        return _rows_of_lines(table.split("Default value Description\n")[1])
    # Of `name | type | default | description |`; some pages begin every row with one more bar.
    cells = [cell.strip() for cell in table.split("|")]
    if table.lstrip().startswith("|"):
        cells = [cell for index, cell in enumerate(cells) if index % 5]
    fours = [cells[index : index + 4] for index in range(0, len(cells) - 3, 4)]
    return [_row(name, kind, *((value, text) if text else ("", value))) for name, kind, value, text in fours]


def _rows_of_lines(text: str) -> list[Row]:
    """Parse a table without bars: name, type and the rest, each on separate lines."""
    lines = [line for line in text.splitlines() if line]
    starts = [index - 1 for index, line in enumerate(lines) if line.split()[0] in _TYPES and len(line.split()) <= 2]
    rows = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        name, kind, *value, description = lines[start:end]
        rows.append(_row(name, kind, "\n".join(value), description))
    return rows


def _row(name: str, kind: str, value: str, description: str) -> Row:
    word = kind.split()[0]
    options = re.search(r"Options:\s*(.+)", value)
    low, high = (re.search(rf"{bound}: (\S+)", value) for bound in ("Min", "Max"))
    default = re.split(r"Min:|Max:|Options:", value)[0].strip()
    return Row(
        name=name,
        kind=None if word == "None" else word,
        is_enum=None if word == "None" else "(enum)" in kind,
        default=_typed(default, word) if default else None,
        minimum=float(low[1]) if low else None,
        maximum=float(high[1]) if high else None,
        choices=options[1].split(", ") if options else None,
        description=description,
    )


def _typed(text: str, kind: str) -> Any:
    if kind == "boolean":
        return {"True": True, "False": False}[text]
    return float(text) if kind in ("integer", "number") else text
