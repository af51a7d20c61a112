"""Reading a list of requests: JSON lines, CSV with a header, or a prompt on each line."""

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicgen_service import home
from musicgen_service.inputs import fetching
from musicgen_service.requests import unicode_text
from musicgen_service.requests.fields import Field, parse_text, unknown_input
from musicgen_service.serving import json_text

ID = "id"
"""The name of a line's own id, beside those of inputs."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


@dataclass(frozen=True)
class Entry:
    """One line of a list.

    Attributes
    ----------
    line : its number, from 1
    id : the id that it gives itself, or None
    inputs : by name; a file is a `Path` or an address
    text : its content as canonical JSON, equal for lines that say the same
    """

    line: int
    id: str | None
    inputs: dict[str, Any]
    text: str


class _LineError(ValueError):
    """A line cannot be read; the message is one sentence."""


def read(path: Path, fields: Mapping[str, Field]) -> tuple[list[Entry], list[str]]:
    """Read a list, in the format of its extension, one of `FORMATS`.

    Parameters
    ----------
    path : files that the list names are relative to its folder
    fields : the inputs that a line may have

    Returns
    -------
    Its entries, and a sentence for each problem

    Raises
    ------
    OSError
        When it cannot be read.
    """
    # Spreadsheets write a byte order mark. Each line that is not UTF-8 is a problem of its own: see `_check_text`.
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    entries, problems = [], []
    for line, read_values in FORMATS[path.suffix.lower()](text, fields):
        try:
            entries.append(_entry(line, read_values(), fields, path.parent))
        except _LineError as error:
            problems.append(f"line {line}: {error}")
    return entries, problems


_Lines = Iterator[tuple[int, Callable[[], dict[str, Any]]]]
"""The number of each line that is not blank, and what reads its values, which may raise `_LineError`."""


def _json_lines(text: str, _fields: Mapping[str, Field]) -> _Lines:
    def parse(line: str) -> dict[str, Any]:
        _check_text(line)
        try:
            values = json_text.decode(line.encode())
        except ValueError as error:
            raise _LineError(f"This is not JSON: {error}.") from None
        if not isinstance(values, dict):
            raise _LineError('A line must be a JSON object, such as {"prompt": "lofi piano"}.')
        return values

    # Not `splitlines`: JSON texts may contain other line ends than these.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, lambda line=line: parse(line)  # type: ignore[misc]


def _plain_text(text: str, _fields: Mapping[str, Field]) -> _Lines:
    def parse(line: str) -> dict[str, Any]:
        _check_text(line)
        return {"prompt": line.strip()}

    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, lambda line=line: parse(line)  # type: ignore[misc]


def _check_text(text: str) -> None:
    """Raise _LineError where a part of a list was no UTF-8."""
    if not unicode_text.is_valid(text):
        raise _LineError("This is not text in UTF-8.")


def _csv(text: str, fields: Mapping[str, Field]) -> _Lines:
    csv.field_size_limit(sys.maxsize)  # a data URI is longer than the default
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            # What follows cannot be told apart.
            yield rows.line_num, _refuse(f"This is not CSV: {error}.")
            return
        if not any(cell.strip() for cell in row):
            continue
        if header is not None:
            yield rows.line_num, lambda row=row, header=header: _cells(header, row, fields)  # type: ignore[misc]
            continue
        header = [cell.strip() for cell in row]
        if problem := _header_problem(header, fields):
            yield rows.line_num, _refuse(problem)
            return


def _refuse(problem: str) -> Callable[[], dict[str, Any]]:
    def refuse() -> dict[str, Any]:
        raise _LineError(problem)

    return refuse


def _header_problem(header: list[str], fields: Mapping[str, Field]) -> str | None:
    try:
        _check_text("".join(header))
    except _LineError as error:
        return str(error)
    unknown = [unknown_input(name, (*fields, ID)) for name in header if name not in fields and name != ID]
    twice = sorted({name for name in header if header.count(name) > 1})
    return " ".join([*unknown, *(f"The column '{name}' is there twice." for name in twice)]) or None


def _cells(header: list[str], row: list[str], fields: Mapping[str, Field]) -> dict[str, Any]:
    """The values of a row; an empty cell is an input that is left out."""
    if len(row) != len(header):
        raise _LineError(f"The line has {len(row)} cells, and the header has {len(header)}.")
    _check_text("".join(row))
    values: dict[str, Any] = {}
    problems = []
    for name, cell in zip(header, row, strict=True):
        if not cell.strip():
            continue
        field = fields.get(name, Field(str))
        try:
            values[name] = cell if field.kind in (str, Path) else parse_text(name, field, cell.strip())
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise _LineError(" ".join(problems))
    return values


def _entry(line: int, values: dict[str, Any], fields: Mapping[str, Field], folder: Path) -> Entry:
    values = {name: value for name, value in values.items() if value is not None}
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    own_id = values.pop(ID, None)
    if isinstance(own_id, int) and not isinstance(own_id, bool):
        own_id = str(own_id)
    problems = []
    if own_id is not None and not (isinstance(own_id, str) and _ID.fullmatch(own_id)):
        problems.append("id must be up to 100 letters, digits, '.', '_' and '-', the first a letter or digit.")
    for name, value in values.items():
        if name in fields and fields[name].kind is Path and isinstance(value, str) and not fetching.is_address(value):
            values[name] = folder.absolute() / home.expanded(value)
            if problem := _file_problem(values[name]):
                problems.append(f"{name}: {problem}.")
    if problems:
        raise _LineError(" ".join(problems))
    return Entry(line, own_id, values, text)


def _file_problem(path: Path) -> str | None:
    try:
        if path.exists() and not path.is_file():
            return f"{path} is not a file"
        with path.open("rb"):
            return None
    except FileNotFoundError:
        return f"there is no file {path}"
    except (OSError, ValueError) as error:
        return f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"


FORMATS: dict[str, Callable[[str, Mapping[str, Field]], _Lines]] = {
    ".jsonl": _json_lines,
    ".csv": _csv,
    ".txt": _plain_text,
}
"""The formats by extension."""
