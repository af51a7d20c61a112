"""The OpenAPI schema of a predictor, which Cog's server needs to check requests.

`cog build` writes the same schema from the source of the predictor. Without Docker it is written here, because a
server without a schema accepts any input. Source: the schema that Cog 0.23 publishes.
"""

import importlib
import json
from pathlib import Path
from typing import Any, get_type_hints

from cog import _inspector

from musicgen_service import predictors

SCHEMA_FILE = Path(".cog/openapi_schema.json")

_BOUNDS = {
    "ge": "minimum",
    "le": "maximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "regex": "pattern",
}


def write(folder: Path, predictor: str) -> Path:
    """Write the schema of a predictor to where Cog's server, started in `folder`, reads it."""
    path = folder / SCHEMA_FILE
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(build(predictor), indent=1) + "\n")
    unfinished.replace(path)
    return path


def build(predictor: str) -> dict[str, Any]:
    """Build the schema of a predictor, named as in cog.yaml, such as `predict.py:Predictor`."""
    module, name = predictors.importable(predictor)
    info = _inspector.create_predictor(module, name)
    inputs, enums = _inputs(info.inputs)
    runner = getattr(importlib.import_module(module), name)
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": {"/predictions": {"post": _predictions()}},
        "components": {
            "schemas": {
                "Input": inputs,
                "Output": _output(info.output.json_type(), get_type_hints(runner.run)["return"]),
                **enums,
                "PredictionRequest": _object("PredictionRequest", id=_text("Id"), input=_reference("Input")),
                "PredictionResponse": _object(
                    "PredictionResponse",
                    input=_reference("Input"),
                    output=_reference("Output"),
                    id=_text("Id"),
                    status=_text("Status"),
                    error=_text("Error"),
                    logs=_text("Logs"),
                    metrics={"title": "Metrics", "type": "object"},
                ),
                "HTTPValidationError": {"title": "HTTPValidationError", "type": "object"},
            }
        },
    }


def _inputs(fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    properties, required, enums = {}, [], {}
    for name, field in fields.items():
        optional = field.type.repetition.name.startswith("OPTIONAL")
        entry: dict[str, Any] = {"x-order": field.order}
        if field.choices:
            kind = field.type.primitive.json_type()["type"]
            enums[name] = {
                "title": name,
                "description": "An enumeration.",
                "enum": list(field.choices),
                "type": kind,
            }
            entry["allOf"] = [_reference(name)]
        else:
            entry |= {"title": name.replace("_", " ").title(), **field.type.json_type()}
        if field.default is not None:
            entry["default"] = field.default
        elif not optional:
            required.append(name)
        if optional:
            entry["nullable"] = True
        if field.description is not None:
            entry["description"] = field.description
        bounds = {key: getattr(field, bound) for bound, key in _BOUNDS.items()}
        entry |= {key: _integral(bound) for key, bound in bounds.items() if bound is not None}
        properties[name] = entry
    schema = {"title": "Input", "type": "object", "properties": properties}
    return (schema | {"required": required} if required else schema), enums


def _integral(bound: Any) -> Any:
    """Convert an integral bound to int, because error messages show it."""
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _output(schema: dict[str, Any], kind: Any) -> dict[str, Any]:
    """The schema of an output; an object's fields with a default are not required."""
    required = [name for name in schema.pop("required", []) if not hasattr(kind, name)]
    return schema | {"required": required} if required else schema


def _predictions() -> dict[str, Any]:
    return {
        "summary": "Predict",
        "operationId": "predict_predictions_post",
        "requestBody": {"content": _json(_reference("PredictionRequest"))},
        "responses": {
            "200": {"description": "Successful Response", "content": _json(_reference("PredictionResponse"))},
            "422": {"description": "Validation Error", "content": _json(_reference("HTTPValidationError"))},
        },
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _text(title: str) -> dict[str, str]:
    return {"title": title, "type": "string"}


def _object(title: str, **properties: Any) -> dict[str, Any]:
    return {"title": title, "type": "object", "properties": properties}
