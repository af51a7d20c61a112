"""The hosted platform's own client for Python, with nothing but its address changed."""

import asyncio
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError
from replicate.helpers import FileOutput
from replicate.webhook import InvalidSignatureError, Webhooks, WebhookSigningSecret

from musicgen_service.serving import api_keys, hosted_routes
from musicgen_service.serving.gateway import Gateway
from tests.serving.conftest import SECRET, client_of, gateway_of, running
from tests.serving.test_webhooks import hook
from tests.support.fake_cog import FakeCog, fake_cog
from tests.support.harness import wait_until

META = "meta/musicgen:7a76a8258b23fae65c5a22debb8841d1d7e816b75c2f24218cd2bd8573787906"
LATEST = "meta/musicgen:671ac645ce5e552cc63a54a2bbff63fcf798043055d2dac5fc9e36a837eedcfb"


@pytest.fixture
def replicate(gateway: Gateway, cog: FakeCog, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The client as a program has it, which finds the address in its environment."""
    monkeypatch.setenv("REPLICATE_BASE_URL", f"http://127.0.0.1:{gateway.address[1]}")
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_anything")
    monkeypatch.setenv("REPLICATE_POLL_INTERVAL", "0.02")
    yield Client()
    cog.resume.set()


def asked(cog: FakeCog) -> list[tuple[str, dict[str, Any]]]:
    """The drop-in and inputs of each prediction that Cog was sent."""
    return [(request["context"]["system"], json.loads(request["input"]["prompt"])) for request in cog.requests]


@pytest.mark.parametrize(
    ("reference", "system", "inputs"),
    [
        (META, "meta_musicgen", {"prompt": "rock", "model_version": "melody", "duration": 8}),
        ("meta/musicgen", "meta_musicgen", {"prompt": "rock"}),
        (LATEST, "musicgen_custom", {"prompt": "rock", "model_version": "stereo-large", "duration": 8}),
        ("aaronbesson/m3maker:efb8234f", "m3maker", {"prompt": "rock", "duration": 60}),
        ("multitrickfox/musicgen_custom", "musicgen_custom", {"prompt": "rock", "multi_band_diffusion": True}),
        ("andreasjansson/musicgen-looper:fd5be669", "musicgen_looper", {"prompt": "rock", "max_duration": 4}),
        ("sakemin/musicgen-remixer:7f15a497", "musicgen_remixer", {"music_input": "https://a.test/song.mp3"}),
        ("sakemin/musicgen-chord:64da4f83", "musicgen_chord", {"text_chords": "C G:7", "bpm": 120}),
        ("sakemin/musicgen-fine-tuner:b1ec6490", "musicgen_fine_tuner", {"prompt": "a", "replicate_weights": "mine"}),
        ("sakemin/musicgen-stereo-chord", "musicgen_stereo_chord", {"prompt": "rock", "time_sig": "3/4"}),
        ("acme/music", "meta_musicgen", {"prompt": "rock"}),
    ],
)
def test_run_takes_the_inputs_of_each_model(
    replicate: Client, cog: FakeCog, reference: str, system: str, inputs: dict[str, Any]
) -> None:
    output: Any = replicate.run(reference, input=inputs)
    assert isinstance(output, FileOutput) and asked(cog) == [(system, inputs)]
    assert json.loads(output.read()) == inputs


def test_run_takes_the_services_own_model(replicate: Client, cog: FakeCog) -> None:
    [output] = replicate.run("musicgen-service/musicgen", input={"prompt": "b", "task": "loop"})
    assert output.read() == b"b" and cog.requests[0]["input"] == {"prompt": "b", "task": "loop"}


def test_async_run(replicate: Client, cog: FakeCog) -> None:
    async def run() -> bytes:
        output: Any = await replicate.async_run(META, input={"prompt": "later"})
        return bytes(await output.aread())

    assert json.loads(asyncio.run(run())) == {"prompt": "later"}


def test_run_goes_on_to_poll(replicate: Client, cog: FakeCog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosted_routes, "_MAX_WAIT", 0.2)
    output: Any = replicate.run("musicgen-service/musicgen", input={"prompt": "slow"})
    assert output[0].read() == b"slow"


def test_a_prediction_is_created_polled_and_read(replicate: Client, cog: FakeCog) -> None:
    version = replicate.models.get("musicgen-service/musicgen").latest_version
    assert version is not None
    prediction = replicate.predictions.create(version=version, input={"prompt": "wait", "seed": 5})
    assert (prediction.status, prediction.output, prediction.input) == ("starting", None, {"prompt": "wait", "seed": 5})
    assert prediction.model == "musicgen-service/musicgen" and prediction.version == version.id
    wait_until(lambda: bool(replicate.predictions.get(prediction.id).logs))
    prediction.reload()
    assert (prediction.status, prediction.logs) == ("processing", "task text\n50 %\n")
    cog.resume.set()
    prediction.wait()
    assert prediction.status == "succeeded" and prediction.output is not None
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/files/[0-9a-f]{32}/[\w-]+\.wav", prediction.output[0])
    assert httpx.get(prediction.output[0]).content == b"wait"
    assert prediction.created_at and prediction.started_at and prediction.completed_at
    assert prediction.urls and httpx.get(prediction.urls["get"]).json()["id"] == prediction.id


def test_a_prediction_is_cancelled(replicate: Client, cog: FakeCog) -> None:
    prediction = replicate.models.predictions.create("meta/musicgen", {"prompt": "a"}, wait=False)
    prediction.wait()
    running = replicate.predictions.create("musicgen-service/musicgen", {"prompt": "endless"})
    wait_until(lambda: replicate.predictions.get(running.id).status == "processing")
    running.cancel()
    assert running.status == "canceled" and len(cog.cancelled) == 1
    prediction.cancel()
    assert prediction.status == "succeeded"
    assert {"succeeded", "canceled"} <= {found.status for found in replicate.predictions.list().results}


def test_deployments(replicate: Client, cog: FakeCog) -> None:
    deployment = replicate.deployments.get("acme/music")
    assert deployment.current_release and deployment.current_release.model == "meta/musicgen"
    prediction = deployment.predictions.create(input={"prompt": "rock"})
    prediction.wait()
    assert (prediction.status, prediction.model) == ("succeeded", "meta/musicgen")


def test_models_and_versions(replicate: Client) -> None:
    names = {f"{model.owner}/{model.name}" for model in replicate.models.list()}
    assert names >= {"musicgen-service/musicgen", "meta/musicgen", "andreasjansson/musicgen-looper"} and len(names) == 9
    [version] = replicate.models.get("meta/musicgen").versions.list()
    assert version.id == META.partition(":")[2]
    inputs = version.openapi_schema["components"]["schemas"]["Input"]["properties"]
    assert "input_audio" in inputs and "variations" not in inputs


@pytest.mark.parametrize(
    ("model", "inputs"),
    [("meta/musicgen", {"duration": 20}), ("andreasjansson/musicgen-looper", {"variations": 3, "max_duration": 4})],
)
def test_work_is_limited(model: str, inputs: dict[str, Any]) -> None:
    with fake_cog() as cog:
        gateway = gateway_of(lambda: cog.server_port, max_audio_seconds=11)
        with running(gateway):
            client = Client(api_token="none", base_url=f"http://127.0.0.1:{gateway.address[1]}")
            with pytest.raises(ReplicateError, match="all variations and repetitions together; 11 s are allowed"):
                client.run(model, input={"prompt": "a"} | inputs)


def test_files_are_uploaded_and_named(replicate: Client, cog: FakeCog, tmp_path: Path) -> None:
    (tmp_path / "riff.wav").write_bytes(b"RIFF")
    with (tmp_path / "riff.wav").open("rb") as file:
        replicate.run(META, input={"prompt": "rock", "input_audio": file})
    [(_, inputs)] = asked(cog)
    assert httpx.get(inputs["input_audio"]).content == b"RIFF"
    uploaded = replicate.files.create(tmp_path / "riff.wav", metadata={"take": 2})
    assert (uploaded.name, uploaded.content_type, uploaded.size) == ("riff.wav", "audio/x-wav", 4)
    assert replicate.files.get(uploaded.id) == uploaded and uploaded in replicate.files.list()
    assert replicate.files.delete(uploaded.id)
    with pytest.raises(ReplicateError):
        replicate.files.get(uploaded.id)


def test_files_may_be_sent_in_place(replicate: Client, cog: FakeCog, tmp_path: Path) -> None:
    (tmp_path / "riff.wav").write_bytes(b"RIFF")
    prediction = replicate.predictions.create(
        META.partition(":")[2], {"input_audio": tmp_path / "riff.wav"}, file_encoding_strategy="base64", wait=True
    )
    assert asked(cog)[0][1]["input_audio"].startswith("data:audio/x-wav;base64,")
    assert prediction.status == "succeeded" and prediction.input == {}


def test_errors_are_those_that_the_client_reads(replicate: Client, cog: FakeCog) -> None:
    with pytest.raises(ModelError, match="Prediction failed: x"):
        replicate.run("musicgen-service/musicgen", input={"prompt": "fail"})
    for reference, inputs, status, sentence in (
        (
            "meta/musicgen",
            {"prompt": "rock", "duration": 31},
            422,
            "input.duration: 31 is greater",
        ),
        ("meta/musicgen", {"promt": "rock"}, 422, "There is no input 'promt' (did you mean 'prompt'?)."),
        ("nobody/nothing", {}, 404, "There is no model 'nobody/nothing' here: this service serves musicgen-service/"),
        (f"meta/musicgen:{'0' * 64}", {}, 422, "MUSICGEN_MODEL_NAMES can say which of them the version is like."),
    ):
        with pytest.raises(ReplicateError) as refused:
            replicate.run(reference, input=inputs)
        assert refused.value.status == status and sentence in str(refused.value.detail), refused.value
    with pytest.raises(ReplicateError) as missing:
        replicate.predictions.get("0" * 32)
    assert (missing.value.status, missing.value.title) == (404, "Not Found")
    assert len(cog.requests) == 1


def test_behind_a_proxy_files_have_its_address() -> None:
    with fake_cog() as cog:
        gateway = gateway_of(lambda: cog.server_port, public_url="https://music.test/below")
        with running(gateway), client_of(gateway) as client:
            prediction = client.post(
                "/v1/models/meta/musicgen/predictions", json={"input": {"prompt": "a"}}, headers={"Prefer": "wait"}
            ).json()
            about = client.post("/files", files={"content": b"RIFF"}).json()
            address = about["urls"]["get"]
            assert address.startswith("https://music.test/below/files/")
            inputs = {"prompt": "a", "input_audio": address}
            assert client.post("/predictions", json={"input": inputs}).json()["status"] == "succeeded"
            client.delete(f"/files/{about['id']}")
            assert client.post("/predictions", json={"input": inputs}).status_code == 422
    assert prediction["output"].startswith("https://music.test/below/files/")
    assert prediction["urls"]["get"] == f"https://music.test/below/v1/predictions/{prediction['id']}"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("POST", "/v1/predictions", {"input": {}}, 422, "version must be a model or a version of one."),
        ("POST", "/v1/predictions", [], 422, "version must be a model or a version of one."),
        ("POST", "/v1/models/meta/musicgen/predictions", {"id": "mine"}, 422, "id is for the service to say"),
        ("POST", "/v1/models/meta/musicgen/predictions", b"{", 400, "The body is not valid JSON"),
        ("POST", "/v1/deployments/acme/other/predictions", {"input": {}}, 404, "There is no model 'acme/other' here"),
        ("GET", "/v1/collections", None, 404, "There is nothing here"),
        ("DELETE", "/v1/predictions", None, 405, "DELETE is not possible here."),
        ("GET", "/v1/predictions/..%2f", None, 404, "There is nothing here"),
    ],
)
def test_other_requests_are_problems(
    client: httpx.Client, cog: FakeCog, method: str, path: str, body: Any, status: int, sentence: str
) -> None:
    content = body if isinstance(body, bytes) or body is None else json.dumps(body)
    reply = client.request(method, path, content=content)
    assert reply.status_code == reply.json()["status"] == status and reply.json()["detail"].startswith(sentence)
    assert cog.requests == []


def test_keys_are_those_of_the_service(tmp_path: Path) -> None:
    secret = api_keys.add(tmp_path / "keys", "ada")
    with fake_cog() as cog:
        gateway = gateway_of(lambda: cog.server_port, keys=api_keys.ApiKeys(tmp_path / "keys"))
        with running(gateway):
            address = f"http://127.0.0.1:{gateway.address[1]}"
            with pytest.raises(ReplicateError) as refused:
                Client(api_token="r8_anything", base_url=address).run("meta/musicgen", input={"prompt": "a"})
            assert refused.value.status == 401 and "API key is not valid" in str(refused.value.detail)
            client = Client(api_token=secret, base_url=address)
            assert client.run("meta/musicgen", input={"prompt": "a"}) is not None
            uploaded = client.files.create(io.BytesIO(b"RIFF"))
            assert client.files.get(uploaded.id) == uploaded and httpx.get(uploaded.urls["get"]).content == b"RIFF"
            headers = {"Authorization": f"Bearer {secret}"}
            assert httpx.get(f"{address}/files/{uploaded.id}", headers=headers).status_code == 200
            assert httpx.get(f"{address}/files/{uploaded.id}").status_code == 401


def test_a_prediction_is_its_clients(client: httpx.Client, stranger: httpx.Client, cog: FakeCog) -> None:
    made = client.post("/v1/models/acme/music/predictions", json={"input": {"prompt": "a"}}).json()
    assert client.get(f"/v1/predictions/{made['id']}").status_code == 200
    assert stranger.get(f"/v1/predictions/{made['id']}").status_code == 404
    assert stranger.post(f"/v1/predictions/{made['id']}/cancel").status_code == 404
    assert made["id"] not in stranger.get("/v1/predictions").text
    assert "hosted" not in client.get(f"/predictions/{made['id']}").json()


def test_a_client_that_hangs_up_ends_nothing(client: httpx.Client, cog: FakeCog) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post(
            "/v1/predictions",
            json={"version": "musicgen-service/musicgen", "input": {"prompt": "wait"}},
            headers={"Prefer": "wait"},
            timeout=0.3,
        )
    cog.resume.set()
    wait_until(lambda: client.get("/v1/predictions").json()["results"][0]["status"] == "succeeded")
    assert cog.cancelled == []


def test_output_is_not_streamed(replicate: Client) -> None:
    with pytest.raises(ReplicateError, match="does not support streaming"):
        list(replicate.stream("musicgen-service/musicgen", input={"prompt": "a"}))


def test_webhooks_are_signed(
    replicate: Client, gateway: Gateway, cog: FakeCog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    monkeypatch.setattr("musicgen_service.serving.webhooks._WAITS", (0.05,))
    secret = replicate.webhooks.default.secret()
    assert secret.key == SECRET
    with hook(500, 200) as (address, received):
        created = replicate.predictions.create(
            "meta/musicgen", {"prompt": "rock"}, webhook=f"{address}/hook", webhook_events_filter=["completed"]
        )
        wait_until(lambda: not gateway.unfinished)
    report = received.reports[-1]
    assert (report["id"], report["status"], report["model"]) == (created.id, "succeeded", "meta/musicgen")
    assert httpx.get(report["output"]).content == b'{"prompt":"rock"}'
    (_, first), (_, second) = received.heads
    assert first["webhook-id"] == second["webhook-id"]
    for headers, body in zip((first, second), received.bodies, strict=True):
        Webhooks.validate(headers=headers, body=body.decode(), secret=secret, tolerance=60)
        with pytest.raises(InvalidSignatureError):
            Webhooks.validate(headers=headers, body=body.decode() + " ", secret=secret)
        with pytest.raises(InvalidSignatureError):
            other = WebhookSigningSecret(key="whsec_" + "A" * 32)
            Webhooks.validate(headers=headers, body=body.decode(), secret=other)
