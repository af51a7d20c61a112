"""Published schemas of the drop-ins compared with the reference pages; `pytest -s` shows the table of differences."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from musicgen_service import predictors
from musicgen_service.serving import schema
from tests.compat import pages
from tests.compat.pages import Page, Row
from tests.support import static_schema

SYSTEMS = predictors.names()
ABSENT = "absent"


class Difference(NamedTuple):
    """A row of the table: a location in the schema, and its value on the page and here."""

    system: str
    field: str
    key: str
    reference: str
    here: str


def published(system: str) -> dict[str, Any]:
    """The schemas of a drop-in by name, as the server publishes them."""
    schemas: dict[str, Any] = schema.build(predictors.predictor(system))["components"]["schemas"]
    return schemas


def resolved(schemas: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The inputs in order, with enumerations resolved, as shown on the pages."""
    entries = {}
    for name, entry in schemas["Input"]["properties"].items():
        own = {key: value for key, value in entry.items() if key != "allOf"}
        entries[name] = ({**schemas[name], **own}) if "allOf" in entry else own
    return dict(sorted(entries.items(), key=lambda item: int(item[1]["x-order"])))


def shown(row: Row, order: int, like: dict[str, Any]) -> dict[str, Any]:
    """A table's row as a schema; values not shown in the table come from `like`."""
    is_enum = "enum" in like if row.is_enum is None else row.is_enum
    entry: dict[str, Any] = {"x-order": order, "description": row.description, "type": row.kind or like.get("type")}
    entry["title"] = row.name if is_enum else row.name.replace("_", " ").title()
    for key, value in (("default", row.default), ("minimum", row.minimum), ("maximum", row.maximum)):
        if value is not None:
            entry[key] = value
    if is_enum:
        entry["enum"] = row.choices or like.get("enum")
    if row.minimum is None and like.get("minimum") == 0:
        entry["minimum"] = 0
    if row.kind == "string" and like.get("format") == "uri":
        entry["format"] = "uri"
    return entry


def reference(page: Page, ours: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The inputs that a page publishes."""
    if page.inputs is not None:
        properties: dict[str, dict[str, Any]] = page.inputs["properties"]
        return {row.name: properties[row.name] for row in page.rows}
    return {row.name: shown(row, order, ours.get(row.name, {})) for order, row in enumerate(page.rows)}


def differences(system: str) -> list[Difference]:
    """All differences between a reference page and the schema published by its drop-in."""
    page, schemas = pages.read(system), published(system)
    ours = resolved(schemas)
    pairs: list[tuple[str, Any, Any]] = [("inputs in order", {"names": [*reference(page, ours)]}, {"names": [*ours]})]
    pairs += [(name, entry, ours.get(name, {})) for name, entry in reference(page, ours).items()]
    pairs.append(("output", page.output, schemas["Output"]))
    return [
        Difference(system, name, key, str(theirs.get(key, ABSENT)), str(own.get(key, ABSENT)))
        for name, theirs, own in pairs
        for key in sorted(theirs.keys() | own.keys())
        if theirs.get(key, ABSENT) != own.get(key, ABSENT)
    ]


def documented() -> set[Difference]:
    """The rows of the table in compat/README.md."""
    section = Path("compat/README.md").read_text().split("## What Cog cannot express")[1].split("\n## ")[0]
    lines = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in section.splitlines() if line[:3] == "| `"]
    return {
        Difference(system, field.strip(" `"), key, theirs, own)
        for system, names, key, theirs, own in lines
        for field in names.split(",")
    }


def test_schemas_differ_only_as_documented() -> None:
    found = [difference for system in SYSTEMS for difference in differences(system)]
    for difference in [Difference("system", "field", "key", "reference", "here"), *found]:
        print("".join(f"{cell:22}" for cell in difference))
    assert len(SYSTEMS) >= 7
    assert set(found) == documented()


@pytest.mark.parametrize("system", SYSTEMS)
def test_static_schema_equals_the_published_schema(system: str) -> None:
    file, _, _ = predictors.predictor(system).partition(":")
    inputs, enums, output = static_schema.read(Path(file).read_text())
    schemas = published(system)
    assert inputs == schemas["Input"]
    assert {name: schemas[name] for name in enums} == enums
    assert output == schemas["Output"]


NO_THIRD_KIND = """
from typing import Optional
from cog import BaseModel, BaseRunner, Input, Path

class Outputs(BaseModel):
    {doc}
    variation_01: Path = None

class Predictor(BaseRunner):
    def run(self, seed: {kind} = Input(description="d")) -> Outputs: ...
"""


@pytest.mark.parametrize(("kind", "required", "nullable"), [("int", ["seed"], False), ("Optional[int]", [], True)])
def test_cog_inputs_are_either_required_or_nullable(
    kind: str, required: list[str], nullable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = NO_THIRD_KIND.format(kind=kind, doc='"""Loops."""')
    module = f"third_kind_{required}".translate(str.maketrans("", "", "[]'"))
    (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    schemas = schema.build(f"{module}.py:Predictor")["components"]["schemas"]
    for inputs, output in ((schemas["Input"], schemas["Output"]), static_schema.read(source)[::2]):
        assert inputs.get("required", []) == required
        assert inputs["properties"]["seed"].get("nullable", False) == nullable
        assert output["title"] == "Output"


def test_only_the_loopers_prompt_is_required() -> None:
    required = {system: published(system)["Input"].get("required", []) for system in SYSTEMS}
    assert required == {system: ["prompt"] if system == "musicgen_looper" else [] for system in SYSTEMS}


def test_table_rows_equal_the_published_schema_where_known() -> None:
    page = pages.read("musicgen_custom")
    assert page.inputs is not None
    schemas: dict[str, dict[str, Any]] = page.inputs["properties"]
    assert sorted(schemas) == sorted(row.name for row in page.rows)
    assert "required" not in page.inputs
    for order, row in enumerate(page.rows):
        assert shown(row, order, schemas[row.name]) == schemas[row.name]
    # A minimum of 0 is not shown, and is the only one.
    assert {row.name for row in page.rows if "minimum" in schemas[row.name]} == {
        "continuation_start",
        "continuation_end",
    }
    assert all(row.minimum is None for row in page.rows)


def test_enumerations_missing_from_a_page_come_from_its_origin() -> None:
    original = {row.name: row.choices for row in pages.read("meta_musicgen").rows}
    hidden = [(system, row.name) for system in SYSTEMS for row in pages.read(system).rows if row.is_enum is None]
    assert len(hidden) == 5
    for system, name in hidden:
        assert resolved(published(system))[name]["enum"] == original[name]


def test_page_is_read_completely() -> None:
    for system in SYSTEMS:
        text = (pages.FOLDER / f"{system}.txt").read_text()
        for row in pages.read(system).rows:
            assert re.fullmatch(r"[a-z_]+", row.name)
            assert row.description in text
            assert row.default is None or str(row.default).removesuffix(".0") in text


def test_differences_are_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = published("m3maker")
    changed["Input"]["properties"]["duration"]["maximum"] = 30
    changed["Input"]["properties"]["prompt"]["description"] += "."
    changed["output_format"]["enum"] = ["wav"]
    del changed["Input"]["properties"]["seed"]
    monkeypatch.setattr("tests.compat.test_schema.published", lambda _: changed)
    seen = {(difference.field, difference.key) for difference in differences("m3maker")}
    assert seen >= {("duration", "maximum"), ("prompt", "description"), ("seed", "type"), ("inputs in order", "names")}
