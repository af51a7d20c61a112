"""Replies in the form of the hosted platform.

Source: what its clients read, replicate 1.0 and 2.0 for Python and 1.4 for JavaScript.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from musicgen_service.serving.files import absolute
from musicgen_service.serving.models import Model, Models
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.prediction_request import PredictionRequest

_COG = version("cog")
_DATA = "data:"


def asked_for(request: PredictionRequest, **more: Any) -> dict[str, Any]:
    """What a prediction's `hosted` is: what only these replies tell. Files in data URIs are left out."""
    inputs = {
        name: value
        for name, value in request.inputs.items()
        if not (isinstance(value, str) and value[: len(_DATA)].lower() == _DATA)
    }
    return {"model": request.model.name, "version": request.model.versions[0], "input": inputs, **more}


def prediction(job: Mapping[str, Any], own: Model, base_url: str) -> dict[str, Any]:
    """A prediction.

    Parameters
    ----------
    job : as it is kept
    own : the model of those that were asked for without naming one
    base_url : address of the service
    """
    hosted = job.get("hosted") or {"model": own.name, "version": own.versions[0], "input": {}}
    address = f"{base_url}/v1/predictions/{job['id']}"
    times = {name: job[name] for name in ("created_at", "started_at", "completed_at")}
    return {
        "id": job["id"],
        **{name: value for name, value in hosted.items() if name != "in_place"},
        "status": job["status"],
        "output": absolute(job["output"], base_url),
        "error": job["error"],
        "logs": job["logs"],
        "metrics": job["metrics"],
        **times,
        "data_removed": False,
        "source": "api",
        "urls": {"get": address, "cancel": f"{address}/cancel", "web": f"{base_url}/predictions/{job['id']}"},
    }


def reported(own: Model, of: Prediction) -> dict[str, Any]:
    """What a webhook is told of a prediction: in the form of these replies where it was asked for by their route.

    Parameters
    ----------
    own : the model of those that were asked for without naming one
    of : the prediction
    """
    return of.as_cog() if of.hosted is None else prediction(of.as_hosted(), own, of.base_url or "")


def training(record: Mapping[str, Any], base_url: str, position: int | None, files: Sequence[str]) -> dict[str, Any]:
    """A training.

    Parameters
    ----------
    record : as it is kept
    base_url : address of the service
    position : number of those before it, where it waits
    files : names of its files so far: samples, and a picture of its losses
    """
    address = f"{base_url}/v1/trainings/{record['id']}"
    adapter, songs = record["adapter"], record["songs"]
    output = None
    if record["status"] == "succeeded":
        version = None if adapter is None else f"{record['destination']}:{adapter['sha256']}"
        weights = None if adapter is None else f"{address}/{record['name']}.zip"
        output = {"version": version, "weights": weights, "adapter": adapter}
    names = ("id", "model", "version", "destination", "status", "input", "error", "logs", "progress")
    times = {name: record[name] for name in ("created_at", "started_at", "completed_at")}
    return {
        **{name: record[name] for name in names},
        "output": output,
        "metrics": {},
        "songs": songs,
        "samples": [f"{address}/{name}" for name in files if name.endswith(".wav")],
        "losses": next((f"{address}/{name}" for name in files if name.endswith(".png")), None),
        **({} if position is None else {"queue": {"position": position}}),
        **times,
        "source": "api",
        "urls": {"get": address, "cancel": f"{address}/cancel", "web": f"{base_url}/#teach"},
    }


def page(results: list[dict[str, Any]]) -> dict[str, Any]:
    """A list, which is always whole."""
    return {"previous": None, "next": None, "results": results}


def model(served: Model, models: Models, base_url: str) -> dict[str, Any]:
    """A model."""
    owner, _, name = served.name.partition("/")
    return {
        "url": f"{base_url}/v1/models/{served.name}",
        "owner": owner,
        "name": name,
        "description": None,
        "visibility": "private",
        "github_url": None,
        "paper_url": None,
        "license_url": None,
        "cover_image_url": None,
        "run_count": 0,
        "default_example": None,
        "latest_version": model_version(served, models, served.versions[0]),
    }


def model_version(served: Model, models: Models, number: str) -> dict[str, Any]:
    """A version of a model."""
    return {"id": number, "created_at": models.since, "cog_version": _COG, "openapi_schema": served.schema}


def deployment(name: str, served: Model, models: Models) -> dict[str, Any]:
    """A deployment of a model."""
    owner, _, short = name.partition("/")
    release = {
        "number": 1,
        "model": served.name,
        "version": served.versions[0],
        "created_at": models.since,
        "created_by": None,
        "configuration": {"hardware": "own", "min_instances": 1, "max_instances": 1},
    }
    return {"owner": owner, "name": short, "current_release": release}
