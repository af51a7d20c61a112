"""Who may use the service: API keys, and what belongs to a key."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from musicgen_service.serving import api_keys
from musicgen_service.serving.gateway import Gateway
from tests.serving.conftest import client_of, gateway_of, running
from tests.serving.test_predictions import posted
from tests.support.fake_cog import FakeCog, fake_cog
from tests.support.harness import wait_until


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, FakeCog, dict[str, str]]]:
    file = tmp_path_factory.mktemp("keys") / "keys"
    keys = {name: api_keys.add(file, name) for name in ("ann", "ben")}
    with fake_cog() as cog, running(gateway_of(lambda: cog.server_port, keys=api_keys.ApiKeys(file))) as gateway:
        yield gateway, cog, keys


@pytest.fixture
def served(keyed: tuple[Gateway, FakeCog, dict[str, str]]) -> tuple[Gateway, FakeCog]:
    """The gateway with keys in the place of that of other tests."""
    return keyed[:2]


@pytest.fixture
def anybody(gateway: Gateway) -> Iterator[httpx.Client]:
    """A client without a key."""
    with client_of(gateway) as client:
        yield client


@pytest.fixture
def ann(keyed: tuple[Gateway, FakeCog, dict[str, str]]) -> Iterator[httpx.Client]:
    with client_of(keyed[0]) as client:
        client.headers["Authorization"] = f"Bearer {keyed[2]['ann']}"
        yield client


@pytest.fixture
def ben(keyed: tuple[Gateway, FakeCog, dict[str, str]]) -> Iterator[httpx.Client]:
    with client_of(keyed[0]) as client:
        client.headers["Authorization"] = f"Bearer {keyed[2]['ben']}"
        yield client


CLOSED = [
    ("POST", "/predictions"),
    ("PUT", "/predictions/x"),
    ("GET", "/predictions"),
    ("GET", "/predictions/x"),
    ("POST", "/predictions/x/cancel"),
    ("GET", "/openapi.json"),
    ("POST", "/files"),
    ("POST", "/livez"),
    ("GET", "/livez/"),
    ("GET", "/%2flivez"),
    ("GET", "/files"),
    ("GET", "/nothing"),
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_everything_else_needs_a_key(anybody: httpx.Client, cog: FakeCog, method: str, path: str) -> None:
    reply = anybody.request(method, path)
    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert reply.json() == {
        "error": "An API key is needed, in the header Authorization: Bearer KEY.",
        "status": "failed",
    }
    assert cog.requests == []


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/health-check", "/livez?x=1"])
def test_probes_need_no_key(anybody: httpx.Client, path: str) -> None:
    assert anybody.get(path).status_code == 200
    assert anybody.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 200
    assert anybody.options(path).status_code == 204


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Token", "TOKEN", "Bearer  "])
def test_a_key_comes_in_a_header(keyed: tuple[Gateway, FakeCog, dict[str, str]], scheme: str) -> None:
    gateway, _, keys = keyed
    with client_of(gateway) as client:
        headers = {"Authorization": f"{scheme} {keys['ann']}"}
        assert client.post("/predictions", json={"input": {}}, headers=headers).status_code == 200


@pytest.mark.parametrize("given", ["KEY", "Bearer", "Bearer KEY x", "Bearer x", "Basic KEY", "Bearer \xff", ""])
def test_other_credentials_are_refused(
    keyed: tuple[Gateway, FakeCog, dict[str, str]], anybody: httpx.Client, given: str
) -> None:
    headers = [(b"Authorization", given.replace("KEY", keyed[2]["ann"]).encode("latin-1"))]
    reply = anybody.get("/predictions", headers=headers)
    assert reply.status_code == 401 and reply.json()["error"].startswith("The API key is not valid")


def test_a_prediction_is_its_keys(gateway: Gateway, ann: httpx.Client, ben: httpx.Client, cog: FakeCog) -> None:
    with posted(gateway, ann, "wait", id="mine") as replies:
        wait_until(lambda: ann.get("/predictions/mine").json().get("status") == "processing")
        assert ben.get("/predictions/mine").status_code == 404
        assert "mine" not in ben.get("/predictions").text
        assert ben.post("/predictions/mine/cancel").status_code == 404
        with client_of(gateway, "127.0.0.9") as elsewhere:  # a key is a client wherever it comes from
            elsewhere.headers = ann.headers
            assert elsewhere.get("/predictions/mine").json()["status"] == "processing"
        with posted(gateway, ann, "a1", "a2"), posted(gateway, ben, "b1"):
            cog.resume.set()
    assert replies[0].status_code == 200
    assert cog.prompts == ["wait", "a1", "b1", "a2"]


def test_a_file_needs_no_key_but_its_address(ann: httpx.Client, anybody: httpx.Client, cog: FakeCog) -> None:
    reply = ann.post("/predictions", json={"input": {"prompt": "sound"}}, headers={"Prefer": "output=url"})
    assert anybody.get(reply.json()["output"][0]).content == b"sound"


def test_audio_is_heard_by_its_token(ann: httpx.Client, anybody: httpx.Client, cog: FakeCog) -> None:
    body = {"id": "song", "input": {"prompt": "wait"}}
    ann.post("/predictions", json=body, headers={"Prefer": "respond-async"})
    wait_until(lambda: bool(cog.requests))
    address = ann.get("/predictions/song").json()["audio"]
    assert anybody.get("/predictions/song/audio").status_code == 401
    for wrong in (address[:-1] + "x", address.replace("song", "other"), address.partition("=")[0] + "="):
        assert anybody.get(wrong).status_code == 404
    assert anybody.get(address.replace("/audio", "")).status_code == 401
    assert anybody.post(address).status_code == 401
    cog.resume.set()
    assert anybody.get(address).content == b"wait"  # its file, as nothing of it can be heard before
    wait_until(lambda: "audio" not in ann.get("/predictions/song").json())
    assert anybody.get(address).content == b"wait"


def test_metrics_need_a_key_unless_they_are_open(tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {api_keys.add(tmp_path / 'keys', 'ann')}"}
    keys = api_keys.ApiKeys(tmp_path / "keys")
    for metrics, statuses in (("key", [401, 200]), ("open", [200, 200]), ("off", [401, 404])):
        gateway = gateway_of(lambda: None, keys=keys, metrics=metrics)
        with running(gateway), client_of(gateway) as client:
            assert [client.get("/metrics", headers=given).status_code for given in ({}, headers)] == statuses


def test_without_keys_credentials_mean_nothing() -> None:
    with fake_cog() as cog, running(gateway_of(lambda: cog.server_port)) as gateway, client_of(gateway) as client:
        for given in ("Bearer any", "Token any", "Basic any"):
            body = {"id": "same", "input": {}}
            reply = client.post("/predictions", json=body, headers={"Authorization": given})
            assert reply.status_code == 200
        assert len(client.get("/predictions").json()["results"]) == 3


def test_a_key_that_is_removed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "_CHECK_INTERVAL", 0.0)
    key = api_keys.add(tmp_path / "keys", "ann")
    with fake_cog() as cog:
        gateway = gateway_of(lambda: cog.server_port, keys=api_keys.ApiKeys(tmp_path / "keys"))
        with running(gateway), client_of(gateway) as client:
            client.headers["Authorization"] = f"Bearer {key}"
            assert client.get("/predictions").status_code == 200
            api_keys.remove(tmp_path / "keys", "ann")
            assert client.get("/predictions").status_code == 401


def test_requests_of_a_client_are_limited(tmp_path: Path) -> None:
    ann, ben = (api_keys.add(tmp_path / "keys", name) for name in ("ann", "ben"))
    keys = api_keys.ApiKeys(tmp_path / "keys")
    with running(gateway_of(lambda: None, keys=keys, requests_per_minute=3)) as gateway, client_of(gateway) as client:
        statuses = [
            client.get("/predictions", headers={"Authorization": f"Bearer {key}"}).status_code
            for key in (*[ann] * 4, ben, *["x"] * 4, ben)
        ]
        assert statuses == [200, 200, 200, 429, 200, 401, 401, 401, 429, 200]
        reply = client.get("/predictions", headers={"Authorization": f"Bearer {ann}"})
        assert reply.json()["error"] == "You send too many requests: try again later."
        assert 1 <= int(reply.headers["retry-after"]) <= 20
        assert client.get("/livez").status_code == 200


def test_the_health_is_told_so_often(tmp_path: Path) -> None:
    api_keys.add(tmp_path / "keys", "ann")
    keys = api_keys.ApiKeys(tmp_path / "keys")
    with running(gateway_of(lambda: None, keys=keys, requests_per_minute=2)) as gateway, client_of(gateway) as client:
        assert [client.get("/health-check").status_code for _ in range(3)] == [200, 200, 429]
        assert [client.get("/readyz").status_code for _ in range(3)] == [503, 503, 503]
