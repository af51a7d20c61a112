"""What OpenAPI says of the gateway's own routes, beside the schema of a predictor, which stays as it is."""

import re
from collections.abc import Mapping
from typing import Any

from musicgen_service.serving.routes import ROUTES

_HOSTED = {
    "POST /v1/predictions": "make a prediction with the model of a version",
    "GET /v1/predictions": "the latest ones of this client",
    "GET /v1/predictions/ID": "how far it is, and its result",
    "POST /v1/predictions/ID/cancel": "end it",
    "GET /v1/models": "the models of this service",
    "GET /v1/models/OWNER/NAME": "one of them",
    "POST /v1/models/OWNER/NAME/predictions": "make a prediction with it",
    "GET /v1/models/OWNER/NAME/versions": "its versions",
    "GET /v1/models/OWNER/NAME/versions/VERSION": "one of them",
    "GET /v1/deployments/OWNER/NAME": "a deployment of a model",
    "POST /v1/deployments/OWNER/NAME/predictions": "make a prediction with it",
    "POST /v1/files": "upload a file, whose address can be an input",
    "GET /v1/files": "the uploaded files of this client",
    "GET /v1/files/ID": "what is known of an uploaded file",
    "DELETE /v1/files/ID": "delete it",
    "GET /v1/webhooks/default/secret": "what webhooks are signed with",
}
"""The routes of the hosted platform, which `ROUTES` has as one."""
_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
_ADDRESS = {"type": "string", "format": "uri"}
_TRAININGS = "/v1/trainings"
"""Have a description of their own, where there are any; see `training_schema`."""


def added_to(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with the routes that it does not have, in the form of OpenAPI."""
    paths = {path: dict(operations) for path, operations in schema["paths"].items()}
    for route, meaning in (ROUTES | _HOSTED).items():
        method, _, path = route.rpartition(" ")
        if method and not path.startswith(_TRAININGS):
            address = re.sub("[A-Z]+", lambda found: f"{{{found[0].lower()}}}", path)
            paths.setdefault(address, {}).setdefault(method.lower(), _operation(method, path, meaning))
    schemas = {"Job": _job(), "Upload": _upload(), "Refusal": _object(error=_TEXT, status=_TEXT)}
    components = schema["components"] | {"schemas": schemas | schema["components"]["schemas"]}
    return {**schema, "paths": paths, "components": components}


def _operation(method: str, path: str, meaning: str) -> dict[str, Any]:
    names = [name.lower() for name in re.findall("[A-Z]+", path)]
    words = re.findall("[A-Za-z0-9]+", path) or ["root"]
    operation: dict[str, Any] = {
        "summary": f"{meaning[0].upper()}{meaning[1:]}",
        "operationId": "_".join([method, *words]).lower(),
        "responses": {
            _status(method, path): {"description": "Successful Response", **_content(method, path)},
            "default": {"description": "Why it is refused", "content": _json(_reference("Refusal"))},
        },
    }
    if names:
        operation["parameters"] = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in names]
    if (body := _body(method, path)) is not None:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _status(method: str, path: str) -> str:
    is_new = method == "POST" and (path.endswith("/files") or re.fullmatch("/v1/.*predictions", path))
    return "204" if method == "DELETE" else "201" if is_new else "200"


def _content(method: str, path: str) -> dict[str, Any]:
    """What a response contains."""
    if method == "DELETE":
        return {}
    if path.endswith(("/stream", "/audio")):
        sound = {"schema": {"type": "string", "format": "binary"}}
        return {"content": {"audio/wav": sound, "audio/mpeg": sound, "text/event-stream": {"schema": _TEXT}}}
    match path.removeprefix("/v1"):
        case "/metrics":
            return {"content": {"text/plain": {"schema": _TEXT}}}
        case "/files/TOKEN/NAME":
            return {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
        case "/files" if method == "GET":
            found = _listed("Upload")
        case "/files" | "/files/ID":
            found = _reference("Upload")
        case "/predictions" if path == "/predictions":
            found = _listed("Job")
        case "/predictions/ID" if path == "/predictions/ID":
            found = _reference("PredictionResponse" if method == "PUT" else "Job")
        case _:
            found = {"type": "object"}
    return {"content": _json(found)}


def _body(method: str, path: str) -> dict[str, Any] | None:
    """What a request contains; None where that does not matter."""
    if method not in ("POST", "PUT") or path.endswith("/cancel"):
        return None
    match path:
        case "/analyse":
            inputs = _object(input_audio=_ADDRESS)
        case "/sections":
            inputs = _object(sections=_TEXT, prompt=_TEXT, bpm=_NUMBER, time_signature=_TEXT)
        case "/chords":
            inputs = _object(text_chords=_TEXT)
        case "/files" | "/v1/files":
            form = _object(content={"type": "string", "format": "binary"}, filename=_TEXT, type=_TEXT, metadata=_TEXT)
            return {"multipart/form-data": {"schema": form}}
        case _ if path.startswith("/v1/"):
            return _json(_object(input={"type": "object"}, version=_TEXT, webhook=_ADDRESS))
        case _:
            return _json(_reference("PredictionRequest"))
    return _json(_object(input=inputs))


def _job() -> dict[str, Any]:
    """A prediction as its client polls it."""
    times = dict.fromkeys(("created_at", "started_at", "completed_at"), _TEXT | {"nullable": True})
    queue = _object(position={"type": "integer"}, eta_seconds={"type": "integer", "nullable": True})
    texts = {"id": _TEXT, "status": _TEXT, "error": _TEXT | {"nullable": True}, "logs": _TEXT}
    output = {"nullable": True, "description": "As that of a prediction, with addresses."}
    more = {"metrics": {"type": "object"}, "progress": _NUMBER, "queue": queue, "audio": _ADDRESS}
    return _object(**texts, output=output, **more, **times)


def _upload() -> dict[str, Any]:
    texts = ("id", "name", "content_type", "etag", "created_at", "expires_at")
    details = {"size": {"type": "integer"}, "metadata": {}, "checksums": _object(sha256=_TEXT)}
    return _object(**dict.fromkeys(texts, _TEXT), **details, urls=_object(get=_ADDRESS))


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _listed(name: str) -> dict[str, Any]:
    return _object(results={"type": "array", "items": _reference(name)})


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
