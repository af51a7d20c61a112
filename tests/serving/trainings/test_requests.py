"""What a training is asked for: inputs become options of the command, or are refused in a sentence."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from musicgen_service.serving.training_inputs import FIELDS
from tests.serving.training_gateway import SONGS, calls, ended, train


def test_inputs_are_options_of_the_command(client: httpx.Client, weights_folder: Path) -> None:
    inputs: dict[str, Any] = {
        "auto_labeling": False,
        "one_same_description": "a band",
        "epochs": 3,
        "updates_per_epoch": 7,
    }
    inputs |= {"batch_size": 4, "optimizer": "adamw", "lr": 0.01, "cfg_p": 0.2, "rank": 8, "pitch": 1, "restart": True}
    inputs |= {"targets": "q_proj, fc1", "checkpointing": False}
    training = ended(client, train(client, trigger="--in mine", warmup=8, lr_scheduler="exponential", **inputs))
    assert training["status"] == "succeeded"
    [call] = calls(weights_folder)
    assert call["options"] == {
        **{"json": "", "name": "mine", "base": "demo", "as-written": "", "drop-vocals": "", "restart": ""},
        **{"steps": "21", "batch": "4", "rate": "0.01", "dropout": "0.2", "rank": "8", "pitch": "1"},
        **{"caption": "a band", "trigger": "--in mine", "targets": "q_proj,fc1", "no-checkpointing": ""},
    }
    first, second, *_ = training["logs"].splitlines()
    assert first.startswith("lr_scheduler has no effect") and second.startswith("warmup has no effect")


def test_songs_may_be_a_list_of_uploads(client: httpx.Client, weights_folder: Path) -> None:
    uploads = [
        client.post("/files", files={"content": (name, content)}).json()["urls"]["get"]
        for name, content in (("A song.wav", b"first"), ("A song.txt", b"rock"))
    ]
    training = ended(client, train(client, dataset_path=[*uploads, "https://songs.test/b.mp3"]))
    assert training["status"] == "succeeded"
    [call] = calls(weights_folder)
    assert [Path(song).name for song in call["songs"][:2]] == ["A-song.wav", "A-song.txt"]
    assert call["read"] == ["first", "rock", "https://songs.test/b.mp3"]


def test_the_demo_plays_for_every_base(
    client: httpx.Client, weights_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_MODELS", "demo")
    assert ended(client, train(client, model_version="large"))["status"] == "succeeded"
    assert calls(weights_folder)[0]["options"]["base"] == "demo"


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ([], 422, "The body must be a JSON object."),
        ({"destination": "mine"}, 422, "input must be an object."),
        ({"inputs": {}}, 422, "There is no field 'inputs' (did you mean 'input'?)."),
        ({"input": {}, "destination": "mine"}, 422, "dataset_path must be an http(s) URL or a data URI, or a list"),
        ({"input": {"dataset_path": "/etc/passwd"}}, 422, "dataset_path must be an http(s) URL or a data URI"),
        ({"input": {"dataset_path": []}}, 422, "dataset_path must be an http(s) URL or a data URI"),
        ({"input": {"dataset_path": SONGS, "epoch": 1}}, 422, "There is no input 'epoch' (did you mean 'epochs'?)."),
        ({"input": {"dataset_path": SONGS, "batch_size": 65}}, 422, "batch_size must be a whole number from 1 to 64"),
        ({"input": {"dataset_path": SONGS, "targets": "all"}}, 422, "targets must be some of q_proj,"),
        ({"input": {"dataset_path": SONGS, "model_version": "big"}}, 422, "model_version must be one of small, "),
        (
            {"input": {"dataset_path": SONGS, "epochs": 1000, "updates_per_epoch": 1000}},
            422,
            "epochs and updates_per_epoch make 1,000,000 steps; 100,000 are allowed.",
        ),
        ({"input": {"dataset_path": SONGS}}, 422, "destination must be OWNER/NAME or NAME"),
        ({"input": {"dataset_path": SONGS}, "destination": "a/b/c"}, 422, "destination must be OWNER/NAME or NAME"),
        ({"input": {"dataset_path": SONGS}, "destination": "../../x"}, 422, "destination must be OWNER/NAME or NAME"),
        ({"input": {"dataset_path": SONGS}, "destination": "mine"}, 422, "'stereo-melody' is not in the weights"),
        (
            {"input": {"dataset_path": "data:x;base64,%%%", "model_version": "demo"}, "destination": "mine"},
            422,
            "dataset_path could not be fetched: the data URI",
        ),
        (
            {"input": {"dataset_path": SONGS}, "version": "meta/musicgen", "destination": "mine"},
            422,
            "meta/musicgen has no trainings; of the models here these have some: musicgen-service/musicgen, sakemin/",
        ),
        (
            {"input": {"dataset_path": SONGS, "model_version": "demo"}, "destination": "a", "webhook": "file:///x"},
            422,
            "webhook must be an http(s) URL.",
        ),
    ],
)
def test_what_is_not_allowed_is_refused(
    client: httpx.Client, weights_folder: Path, body: Any, status: int, sentence: str
) -> None:
    reply = client.post("/v1/trainings", json=body)
    assert reply.status_code == status and sentence in reply.json()["detail"], reply.text
    assert calls(weights_folder) == [] and client.get("/v1/trainings").json()["results"] == []


def test_the_schema_has_them(client: httpx.Client) -> None:
    shown = client.get("/openapi.json").json()
    assert {"/predictions", "/v1/trainings", "/v1/trainings/{id}/cancel"} <= shown["paths"].keys()
    schemas = shown["components"]["schemas"]
    inputs = schemas["TrainingInput"]
    assert inputs["required"] == ["dataset_path"] and inputs["properties"].keys() - {"dataset_path"} == FIELDS.keys()
    assert (
        inputs["properties"]["batch_size"]["maximum"] == 64 and "demo" in inputs["properties"]["model_version"]["enum"]
    )
    references = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(shown))
    assert "Training" in references and set(references) <= schemas.keys()
    training = ended(client, train(client))
    jsonschema.validate(training, {"$ref": "#/components/schemas/Training", **without_nullable(shown)})


def without_nullable(schema: Any) -> Any:
    """OpenAPI's `nullable` in the words of JSON Schema."""
    if isinstance(schema, list):
        return [without_nullable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: without_nullable(value) for name, value in schema.items() if name != "nullable"}
    is_nullable = schema.get("nullable") is True and "type" in schema
    return found | ({"type": [schema["type"], "null"]} if is_nullable else {})
