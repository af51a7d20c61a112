"""Trainings by HTTP, with a stand-in for the command that trains: inputs, turns, ends, records, who sees what."""

import base64
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from replicate.client import Client
from replicate.exceptions import ReplicateError

from musicgen_service.models.adapters import AdapterStore
from musicgen_service.serving import adapted_models, api_keys, training_process, training_records, training_routes
from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.models import Models
from musicgen_service.serving.training_inputs import FIELDS
from musicgen_service.serving.training_records import TrainingRecords
from tests.serving.conftest import SECRET, client_of, gateway_of, running
from tests.serving.test_hosted_clients_elsewhere import NEWEST, fetch, run
from tests.serving.test_webhooks import hook
from tests.support import fake_train
from tests.support.fake_cog import fake_cog
from tests.support.harness import PROJECT, runs, wait_until

FINE_TUNER = "sakemin/musicgen-fine-tuner:b1ec6490e57013463006e928abc7acd8d623fe3e8321d3092e1231bf006898b1"
SONGS = "data:application/zip;base64," + base64.b64encode(b"songs").decode()


def weights_with_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder with the demo checkpoint, and the stand-in for the command that trains."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "demo").symlink_to(PROJECT / "weights" / "demo")
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(folder))
    monkeypatch.setattr(training_process, "COMMAND", (*training_process.COMMAND[:1], fake_train.__file__))
    return folder


@pytest.fixture(autouse=True)
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return weights_with_stand_in(tmp_path, monkeypatch)


@contextmanager
def training_gateway(results: Path, **options: Any) -> Iterator[Gateway]:
    with (
        fake_cog() as cog,
        running(gateway_of(lambda: cog.server_port, results=results, trainings=True, **options)) as gateway,
    ):
        yield gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with training_gateway(tmp_path / "results", webhook_secret=SECRET) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    with client_of(gateway) as client:
        yield client


@pytest.fixture
def replicate(gateway: Gateway) -> Client:
    return Client(api_token="r8_anything", base_url=f"http://127.0.0.1:{gateway.address[1]}")


def calls(folder: Path) -> list[dict[str, Any]]:
    """How the command was called."""
    file = folder / "calls"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def train(client: httpx.Client, name: str = "mine", **inputs: Any) -> dict[str, Any]:
    """Ask for a training on the demo checkpoint."""
    given = {"dataset_path": SONGS, "model_version": "demo"} | inputs
    reply = client.post("/v1/trainings", json={"destination": name, "input": given})
    assert reply.status_code == 201, reply.text
    created: dict[str, Any] = reply.json()
    return created


def ended(client: httpx.Client, training: dict[str, Any]) -> dict[str, Any]:
    """A training once it has ended."""
    found: dict[str, Any] = {}

    def has_ended() -> bool:
        found.update(client.get(f"/v1/trainings/{training['id']}").json())
        return found["status"] not in ("starting", "processing")

    wait_until(has_ended)
    return found


def test_the_hosted_client_trains_by_version(replicate: Client, weights_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "songs.zip").write_bytes(b"songs")
    inputs = {"dataset_path": tmp_path / "songs.zip", "model_version": "demo", "epochs": 2, "drop_vocals": False}
    training = replicate.trainings.create(version=FINE_TUNER, input=inputs, destination="me/mine")
    assert training.model == "sakemin/musicgen-fine-tuner" and training.destination == "me/mine"
    assert training.status in ("starting", "processing") and training.input and training.input["epochs"] == 2

    def has_ended() -> bool:
        training.reload()
        return training.status == "succeeded"

    wait_until(has_ended)
    assert training.output is not None
    assert training.output["version"] == f"me/mine:{fake_train.SHA256}"
    assert training.output["weights"].endswith(f"/v1/trainings/{training.id}/mine.zip")
    assert training.output["adapter"]["name"] == "mine"
    assert training.logs and "training: 3 of 3, loss 2.0, held-out 2.1" in training.logs
    assert [found.id for found in replicate.trainings.list().results] == [training.id]
    [call] = calls(weights_folder)
    assert call["options"] == {"json": "", "name": "mine", "base": "demo", "steps": "200"} and call["read"] == ["songs"]


def test_inputs_are_options_of_the_command(client: httpx.Client, weights_folder: Path) -> None:
    inputs: dict[str, Any] = {
        "auto_labeling": False,
        "one_same_description": "a band",
        "epochs": 3,
        "updates_per_epoch": 7,
    }
    inputs |= {"batch_size": 4, "optimizer": "adamw", "lr": 0.01, "cfg_p": 0.2, "rank": 8, "pitch": 1, "restart": True}
    training = ended(client, train(client, trigger="--in mine", warmup=8, lr_scheduler="exponential", **inputs))
    assert training["status"] == "succeeded"
    [call] = calls(weights_folder)
    assert call["options"] == {
        **{"json": "", "name": "mine", "base": "demo", "as-written": "", "drop-vocals": "", "restart": ""},
        **{"steps": "21", "batch": "4", "rate": "0.01", "dropout": "0.2", "rank": "8", "pitch": "1"},
        **{"caption": "a band", "trigger": "--in mine"},
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


def test_progress_is_told_and_samples_are_heard(client: httpx.Client, stranger: httpx.Client) -> None:
    training = train(client, trigger="endless")

    def shown() -> dict[str, Any]:
        found: dict[str, Any] = client.get(f"/v1/trainings/{training['id']}").json()
        return found

    wait_until(lambda: (shown()["progress"] or {}).get("stage") == "training")
    found = shown()
    assert found["progress"]["done"] == 1 and found["progress"]["total"] == 3 and found["status"] == "processing"
    assert found["songs"]["songs"] == [fake_train.SONG] and found["songs"]["others"] == ["cover.jpg"]
    [sample] = found["samples"]
    assert client.get(sample).content == b"RIFF" and client.get(sample).headers["content-type"] == "audio/wav"
    assert stranger.get(sample).status_code == stranger.get(f"/v1/trainings/{training['id']}").status_code == 404
    assert client.get(f"/v1/trainings/{training['id']}/..%2fcalls").status_code == 404
    assert stranger.post(f"/v1/trainings/{training['id']}/cancel").status_code == 404
    cancelled = client.post(f"/v1/trainings/{training['id']}/cancel").json()
    assert cancelled["status"] == "canceled" and cancelled["completed_at"]
    assert client.get(sample).content == b"RIFF"


@pytest.fixture
def stranger(gateway: Gateway) -> Iterator[httpx.Client]:
    with client_of(gateway, "127.0.0.2") as client:
        yield client


def test_one_trains_at_a_time_and_others_wait(client: httpx.Client, weights_folder: Path) -> None:
    first, second = train(client, "first", trigger="endless"), train(client, "second")
    third = train(client, "third")
    assert (second["status"], second["queue"], third["queue"]) == ("starting", {"position": 0}, {"position": 1})
    assert client.post(f"/v1/trainings/{second['id']}/cancel").json()["status"] == "canceled"
    # A preview does not wait for a training.
    preview = ended(client, train(client, preview=True))
    assert preview["status"] == "succeeded" and preview["songs"]["songs"] == [fake_train.SONG]
    assert preview["output"] == {"version": None, "weights": None, "adapter": None}
    wait_until(lambda: len(calls(weights_folder)) == 2)
    client.post(f"/v1/trainings/{first['id']}/cancel")
    assert ended(client, third)["status"] == "succeeded"
    assert sorted(call["options"]["name"] for call in calls(weights_folder)) == ["first", "mine", "third"]
    pids = [call["pid"] for call in calls(weights_folder)]
    wait_until(lambda: not any(map(runs, pids)))


@pytest.mark.parametrize(
    ("trigger", "error"),
    [
        ("refused", "An unfinished training has other songs: give the same, or begin anew with restart."),
        ("broken", training_process.BROKE_DOWN),
        ("killed", training_process.OUT_OF_MEMORY),
    ],
)
def test_a_failure_is_told_in_a_sentence(client: httpx.Client, trigger: str, error: str) -> None:
    training = ended(client, train(client, trigger=trigger))
    assert (training["status"], training["error"], training["output"]) == ("failed", error, None)
    assert "secret" not in json.dumps(training)


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


def test_a_name_is_trained_once(client: httpx.Client, stranger: httpx.Client, weights_folder: Path) -> None:
    training = train(client, trigger="endless")
    body = {"destination": "you/mine", "input": {"dataset_path": SONGS, "model_version": "demo"}}
    wait_until(lambda: (weights_folder / "training" / "mine").exists())
    assert client.post("/v1/trainings", json=body).json()["detail"].startswith("'mine' is being trained already")
    client.post(f"/v1/trainings/{training['id']}/cancel")
    reply = stranger.post("/v1/trainings", json=body)
    assert reply.status_code == 409 and reply.json()["detail"].startswith("Another client has begun to train 'mine'")
    assert ended(client, train(client))["status"] == "succeeded"
    reply = client.post("/v1/trainings", json=body)
    assert reply.status_code == 409 and reply.json()["detail"].startswith("There is an adapter 'mine' already")


def test_without_the_extra_there_are_none(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_routes, "find_spec", lambda _: None)
    body = {"destination": "mine", "input": {"dataset_path": SONGS, "model_version": "demo"}}
    reply = client.post("/v1/trainings", json=body)
    assert reply.status_code == 501 and "need the extra 'train'" in reply.json()["detail"]


def test_they_are_of_those_who_have_a_key(tmp_path: Path) -> None:
    keys = {name: api_keys.add(tmp_path / "keys", name) for name in ("ada", "ben")}
    with training_gateway(tmp_path / "results", keys=api_keys.ApiKeys(tmp_path / "keys")) as gateway:
        with client_of(gateway) as nobody:
            assert nobody.get("/v1/trainings").status_code == nobody.post("/v1/trainings", json={}).status_code == 401
        with client_of(gateway) as ada, client_of(gateway) as ben:
            for name, client in (("ada", ada), ("ben", ben)):
                client.headers["Authorization"] = f"Bearer {keys[name]}"
            training = ended(ada, train(ada))
            assert training["status"] == "succeeded" and ada.get(training["samples"][0]).content == b"RIFF"
            assert ben.get(f"/v1/trainings/{training['id']}").status_code == 404
            assert ben.get(training["samples"][0]).status_code == 404
            assert ben.get("/v1/trainings").json()["results"] == []


def test_they_can_be_turned_off() -> None:
    with fake_cog() as cog, running(gateway_of(lambda: cog.server_port)) as gateway, client_of(gateway) as client:
        for reply in (client.post("/v1/trainings", json={}), client.get("/v1/trainings")):
            assert (reply.status_code, reply.json()["detail"]) == (404, "Trainings are turned off here.")


def test_the_demo_plays_for_every_base(
    client: httpx.Client, weights_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_MODELS", "demo")
    assert ended(client, train(client, model_version="large"))["status"] == "succeeded"
    assert calls(weights_folder)[0]["options"]["base"] == "demo"


def test_too_many_do_not_wait(replicate: Client) -> None:
    inputs = {"dataset_path": SONGS, "model_version": "demo", "trigger": "endless"}
    made = [replicate.trainings.create(FINE_TUNER, inputs, f"me/number{number}") for number in range(11)]
    with pytest.raises(ReplicateError, match="Too many trainings are waiting"):
        replicate.trainings.create(FINE_TUNER, inputs, "me/last")
    for training in reversed(made):
        training.cancel()
        assert training.status == "canceled"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node with npm")
def test_the_client_for_javascript_trains(gateway: Gateway, tmp_path: Path) -> None:
    folder = tmp_path / "javascript"
    shutil.copytree(PROJECT / "tests/data/javascript", folder)
    fetch("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)
    run("node", "trainings.mjs", gateway=gateway, folder=folder)


@pytest.mark.slow
def test_the_newest_client_for_python_trains(gateway: Gateway, tmp_path: Path) -> None:
    fetch(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", "site", NEWEST, folder=tmp_path)
    script = PROJECT / "tests/data/newest_trainings.py"
    run(sys.executable, str(script), gateway=gateway, folder=tmp_path, PYTHONPATH=str(tmp_path / "site"))


def test_what_was_trained_is_a_model(weights_folder: Path) -> None:
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": [], "base_model_name_or_path": "demo"}
    with AdapterStore(weights_folder / "adapters").adding("mine", source="a test") as folder:
        (folder / "adapter_config.json").write_text(json.dumps(config))
        (folder / "adapter_model.safetensors").write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    models = Models.load(None, {}, adapted_models.named, adapted_models.of_version)
    with fake_cog() as cog, running(gateway_of(lambda: cog.server_port, models=models)) as gateway:
        replicate = Client(api_token="none", base_url=f"http://127.0.0.1:{gateway.address[1]}")
        for reference in (f"me/mine:{sha256}", "me/mine"):
            output: Any = replicate.run(reference, input={"prompt": "rock"})
            assert json.loads(output.read()) == {"replicate_weights": "mine", "prompt": "rock"}
        assert {request["context"]["system"] for request in cog.requests} == {"musicgen_fine_tuner"}
        version = replicate.models.get("me/mine").latest_version
        assert version is not None and version.id == sha256
        with pytest.raises(ReplicateError, match="There is no model 'me/other' here"):
            replicate.run("me/other", input={"prompt": "rock"})


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


def test_webhooks_are_told(
    gateway: Gateway, replicate: Client, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    with hook() as (address, received):
        training = replicate.trainings.create(
            version=FINE_TUNER,
            input={"dataset_path": SONGS, "model_version": "demo"},
            destination="me/mine",
            webhook=f"{address}/hook",
        )
        wait_until(lambda: not gateway.unfinished and len(received.reports) > 1)
    statuses = [report["status"] for report in received.reports]
    assert statuses[0] == "processing" and statuses[-1] == "succeeded" and statuses.count("succeeded") == 1
    assert received.reports[-1]["id"] == training.id and received.reports[-1]["output"]["adapter"]["name"] == "mine"
    assert all("webhook-signature" in headers for _, headers in received.heads)


def test_a_service_that_ends_tells_its_trainings(tmp_path: Path, weights_folder: Path) -> None:
    with training_gateway(tmp_path / "results") as gateway, client_of(gateway) as client:
        port = gateway.address[1]
        training, waiting = train(client, trigger="endless"), train(client, "other")
        wait_until(lambda: bool(calls(weights_folder)))
    wait_until(lambda: not runs(calls(weights_folder)[0]["pid"]))
    with training_gateway(tmp_path / "results", port=port) as gateway, client_of(gateway) as client:
        for known in (training, waiting):
            found = ended(client, known)
            assert (found["status"], found["error"]) == ("failed", training_records.INTERRUPTED)
        assert ended(client, train(client))["status"] == "succeeded"


def test_a_training_killed_with_its_service_is_told_as_failed(tmp_path: Path) -> None:
    record = {"id": "a", "owner": "me", "name": "mine", "is_preview": False, "created_at": "2026-01-01"}
    TrainingRecords(tmp_path / "kept").put(record | {"status": "processing", "error": None})
    (tmp_path / "kept" / "damaged.json").write_text("{")
    [found] = TrainingRecords(tmp_path / "kept").owned_by("me")
    assert (found["status"], found["error"]) == ("failed", training_records.INTERRUPTED)
    assert TrainingRecords(tmp_path / "kept").find("you", "a") is None


def test_the_oldest_records_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_records, "KEPT", 3)
    records = TrainingRecords(tmp_path / "kept")
    for number in range(5):
        status = "processing" if number == 0 else "succeeded"
        records.put({"id": str(number), "owner": "me", "status": status, "created_at": str(number)})
    assert [found["id"] for found in records.owned_by("me")] == ["4", "3", "0"]
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"0.json", "3.json", "4.json"}
