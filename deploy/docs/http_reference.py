"""The HTTP reference, generated from the published schemas."""

from typing import Any

from musicgen_service import predictors
from musicgen_service.serving import schema

_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def inputs() -> str:
    """Format the inputs and the output of every predictor as Markdown: our own first, then the drop-ins."""
    return "\n\n".join(_predictor(name) for name in (None, *predictors.names()))


def _predictor(system: str | None) -> str:
    schemas = schema.build(predictors.predictor(system))["components"]["schemas"]
    title = f"`serve --as {system}`" if system else "`serve`"
    rows = ["| input | type | default | allowed | meaning |", "|---|---|---|---|---|"]
    required = schemas["Input"].get("required", ())
    for name, entry in schemas["Input"]["properties"].items():
        cells = [
            f"`{name}`",
            _type(name, entry, schemas),
            _default(name, entry, required),
            _allowed(name, entry, schemas),
        ]
        rows.append("| " + " | ".join(_escaped(cell) for cell in (*cells, entry["description"])) + " |")
    return f"## {title}\n\n" + "\n".join(rows) + f"\n\nOutput: {_output(schemas['Output'])}."


def _type(name: str, entry: dict[str, Any], schemas: dict[str, Any]) -> str:
    if entry.get("format") == "uri":
        return "address or data URI of a file"
    return _TYPES[schemas[name]["type"] if "allOf" in entry else entry["type"]]


def _default(name: str, entry: dict[str, Any], required: list[str]) -> str:
    if name in required:
        return "required"
    default = entry.get("default")
    if default is None or default == "":
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def _allowed(name: str, entry: dict[str, Any], schemas: dict[str, Any]) -> str:
    if "allOf" in entry:
        return ", ".join(f"`{choice}`" for choice in schemas[name]["enum"])
    low, high = entry.get("minimum"), entry.get("maximum")
    if low is not None and high is not None:
        return f"{low} to {high}"
    if low is not None:
        return f"{low} or more"
    return f"up to {high}" if high is not None else ""


def _output(output: dict[str, Any]) -> str:
    if output["type"] == "array":
        return "a list of files"
    if output["type"] == "object":
        names = list(output["properties"])
        return f"an object of files, `{names[0]}` to `{names[-1]}`"
    return "a file"


def _escaped(cell: str) -> str:
    """Escape a table cell for Markdown and HTML."""
    return cell.replace("|", "\\|").replace("<", "&lt;")
