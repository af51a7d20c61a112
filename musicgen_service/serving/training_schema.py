"""What OpenAPI says of trainings, beside the schema of a predictor."""

from collections.abc import Mapping
from typing import Any

from musicgen_service.serving import training_inputs

_STATUSES = ("starting", "processing", "succeeded", "failed", "canceled")


def added_to(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with the route that trains, its inputs and its replies."""
    schemas = schema["components"]["schemas"] | {
        "TrainingInput": training_inputs.schema(),
        "TrainingRequest": _request(),
        "Training": _training(),
    }
    return {**schema, "paths": schema["paths"] | _paths(), "components": schema["components"] | {"schemas": schemas}}


def _paths() -> dict[str, Any]:
    named = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    one, trainings = _answer("Training"), {"type": "array", "items": _reference("Training")}
    page = {"type": "object", "properties": {"results": trainings}}
    create = {
        "summary": "Train an adapter",
        "operationId": "train",
        "requestBody": {"required": True, "content": _json(_reference("TrainingRequest"))},
        "responses": {"201": one},
    }
    listing = {"description": "The trainings of this client, the newest first", "content": _json(page)}
    return {
        "/v1/trainings": {
            "post": create,
            "get": {"summary": "List trainings", "operationId": "list_trainings", "responses": {"200": listing}},
        },
        "/v1/trainings/{id}": {
            "parameters": [named],
            "get": {"summary": "How far a training is", "operationId": "get_training", "responses": {"200": one}},
        },
        "/v1/trainings/{id}/cancel": {
            "parameters": [named],
            "post": {"summary": "End a training", "operationId": "cancel_training", "responses": {"200": one}},
        },
    }


def _request() -> dict[str, Any]:
    events = {"type": "array", "items": {"type": "string", "enum": ["start", "output", "logs", "completed"]}}
    return {
        "title": "TrainingRequest",
        "type": "object",
        "required": ["input"],
        "properties": {
            "input": _reference("TrainingInput"),
            "destination": {"type": "string", "description": "OWNER/NAME or NAME, the adapter's name."},
            "webhook": {"type": "string", "format": "uri"},
            "webhook_events_filter": events,
        },
    }


def _training() -> dict[str, Any]:
    texts = ("id", "model", "version", "destination")
    whole = {"type": "integer"}
    progress: dict[str, Any] = {"stage": {"type": "string"}, "done": whole, "total": whole, "more": {"type": "string"}}
    progress["seconds_left"] = {"type": "number", "nullable": True}
    adapter = {"type": "object", "nullable": True, "properties": {"name": {"type": "string"}}}
    output = {"version": _nullable_text(), "weights": _nullable_text(), "adapter": adapter}
    address = {"type": "string", "format": "uri"}
    return {
        "title": "Training",
        "type": "object",
        "properties": {
            **{name: {"type": "string"} for name in texts},
            "status": {"type": "string", "enum": list(_STATUSES)},
            "input": {"type": "object"},
            "progress": {"type": "object", "nullable": True, "properties": progress},
            "songs": {"type": "object", "nullable": True, "description": "What is understood of the songs."},
            "samples": {"type": "array", "items": address},
            "losses": {**address, "nullable": True, "description": "A picture."},
            "output": {"type": "object", "nullable": True, "properties": output},
            "error": _nullable_text(),
            "logs": {"type": "string"},
            **{name: _nullable_text() for name in ("created_at", "started_at", "completed_at")},
        },
    }


def _nullable_text() -> dict[str, Any]:
    return {"type": "string", "nullable": True}


def _answer(name: str) -> dict[str, Any]:
    return {"description": f"A {name.lower()}", "content": _json(_reference(name))}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
