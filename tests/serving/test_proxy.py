"""Requests that the proxy forwards to Cog's server, and those it rejects."""

import http.client
import json
from typing import Any

import httpx
import pytest

from musicgen_service.serving import proxy
from musicgen_service.serving.proxy import Proxy
from tests.support.upstream import Upstream


def test_request_and_response_are_forwarded_unchanged(client: httpx.Client, upstream: type[Upstream]) -> None:
    for _ in range(2):  # on one connection
        reply = client.post(
            "/predictions", json={"id": "Plain_1.a-b", "input": {"prompt": "ü"}}, headers={"Accept": "x"}
        )
        assert reply.status_code == 200 and len(reply.json()["long"]) == 200_000
        assert reply.json()["headers"]["Accept"] == "x"
    assert {(method, path) for method, path, _ in upstream.requests} == {("POST", "/predictions")}
    assert json.loads(upstream.requests[0][2]) == {"id": "Plain_1.a-b", "input": {"prompt": "ü"}}
    assert "Server" not in client.get("/").headers or "Python" not in client.get("/").headers["Server"]


def test_null_input_is_removed(client: httpx.Client, upstream: type[Upstream]) -> None:
    inputs = {"prompt": "\ud800", "seed": None, "top_p": 0, "nested": {"seed": None}, "continuation": False}
    client.post("/predictions", content=json.dumps({"webhook": None, "input": inputs}))
    del inputs["seed"]
    assert json.loads(upstream.requests[0][2]) == {"webhook": None, "input": inputs}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/health-check"),
        ("GET", "/openapi.json"),
        ("PUT", "/predictions/abc"),
        ("POST", "/predictions/abc/cancel"),
    ],
)
def test_allowed_requests_are_forwarded(client: httpx.Client, upstream: type[Upstream], method: str, path: str) -> None:
    assert client.request(method, path).status_code == 200
    assert [(m, p) for m, p, _ in upstream.requests] == [(method, path)]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/shutdown"),
        ("POST", "/trainings"),
        ("PUT", "/trainings/abc"),
        ("GET", "/docs"),
        ("GET", "/predictions"),
        ("POST", "/health-check"),
        ("POST", "/predictions?x=1"),
        ("POST", "/predictions/../shutdown"),
    ],
)
def test_other_requests_are_rejected(client: httpx.Client, upstream: type[Upstream], method: str, path: str) -> None:
    with_raw_path = http.client.HTTPConnection(client.base_url.host, client.base_url.port)
    with_raw_path.request(method, path)
    assert with_raw_path.getresponse().status == 404
    with_raw_path.close()
    assert upstream.requests == []


BAD_IDS = ["../../x", "..", ".hidden", "a/b", "a\\b", "a b", "a\n", "", "-x", "ä", "x" * 129, "a\0b", "%2e%2e"]


@pytest.mark.parametrize("given", BAD_IDS)
def test_an_id_must_be_plain(client: httpx.Client, upstream: type[Upstream], given: str) -> None:
    replies = [client.post("/predictions", json={"id": given, "input": {}})]
    if given and given != "..":
        path = "".join(f"%{byte:02x}" for byte in given.encode())
        replies += [client.put(f"/predictions/{path}", json={}), client.post(f"/predictions/{path}/cancel")]
    assert [(reply.status_code, reply.json()["error"][:10]) for reply in replies] == [(422, "id must be")] * len(
        replies
    )
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("webhook", "sentence"),
    [
        ("http://127.0.0.1:1/x", "webhook cannot be used: its host is not on the public internet."),
        ("http://169.254.169.254/", "webhook cannot be used: its host is not on the public internet."),
        ("file:///etc/passwd", "webhook must be an http(s) URL."),
        ("http://[::1", "webhook must be an http(s) URL."),
        (5, "webhook must be an http(s) URL."),
    ],
)
def test_webhook_must_be_public(client: httpx.Client, upstream: type[Upstream], webhook: Any, sentence: str) -> None:
    reply = client.post("/predictions", json={"input": {}, "webhook": webhook})
    assert (reply.status_code, reply.json()["error"]) == (422, sentence)
    assert upstream.requests == []


def test_private_webhooks_may_be_allowed(
    client: httpx.Client, upstream: type[Upstream], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    assert client.post("/predictions", json={"input": {}, "webhook": "http://127.0.0.1:1/x"}).status_code == 200
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("body", [b"{", b"[]", b"5", b"[" * 100_000])
def test_body_that_is_not_a_request_is_left_to_cog(client: httpx.Client, upstream: type[Upstream], body: bytes) -> None:
    assert client.post("/predictions", content=body).status_code == 200
    assert upstream.requests[0][2] == body


def test_a_body_has_a_length_within_the_limit(
    client: httpx.Client, upstream: type[Upstream], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.post("/predictions", content=iter([b"{}"])).status_code == 411
    monkeypatch.setattr(proxy, "MAX_BODY", 2**20)
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port)
    connection.putrequest("POST", "/predictions")
    connection.putheader("Content-Length", str(2**20 + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413  # before a byte of it was sent
    connection.close()
    assert upstream.requests == []


@pytest.fixture
def picky(served: Proxy) -> Proxy:
    """A proxy with a known set of inputs."""
    served.inputs = {"prompt": (), "model_version": ("small", "stereo-large")}
    return served


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"input": {"promt": "a"}}, "There is no input 'promt' (did you mean 'prompt'?)."),
        ({"input": {"x": None}}, "There is no input 'x'."),
        ({"input": {"model_version": "stereo-larg"}}, "(did you mean 'stereo-large'?)."),
        ({"prompt": "a"}, "put the inputs under 'input'."),
        ({"Inputs": {"prompt": "a"}}, "put the inputs under 'input'."),
        ({"input": {"x" * 1_000_000: 1}}, "There is no input 'xxx"),
    ],
)
def test_misspelling_is_rejected(
    body: dict[str, Any], sentence: str, client: httpx.Client, picky: Proxy, upstream: type[Upstream]
) -> None:
    reply = client.post("/predictions", json=body)
    assert reply.status_code == 422
    [detail] = reply.json()["detail"]
    assert sentence in detail["msg"] and reply.json()["error"] == detail["msg"]
    assert len(reply.content) < 1000 and upstream.requests == []


def test_no_more_than_ten_problems_are_listed(client: httpx.Client, picky: Proxy) -> None:
    reply = client.post("/predictions", json={"input": {f"x{number}": 1 for number in range(100_000)}})
    assert len(reply.json()["detail"]) == 10


@pytest.mark.parametrize(
    "body",
    [
        {"input": {"prompt": "a", "model_version": "small"}, "id": "a", "version": "x", "context": {}},
        {"input": {"model_version": "else"}},  # Cog's to refuse
        {"input": {"model_version": 5}},
        {"input": 5},
        {},
    ],
)
def test_correct_spelling_is_forwarded(
    body: dict[str, Any], client: httpx.Client, picky: Proxy, upstream: type[Upstream]
) -> None:
    assert client.post("/predictions", json=body).status_code == 200
    assert client.put("/predictions/a", json=body).status_code == 200
    assert len(upstream.requests) == 2


def test_untyped_body_is_json_unless_sent_by_a_web_page(client: httpx.Client, picky: Proxy) -> None:
    def types(**headers: str) -> str | None:
        reply = client.post("/predictions", content=b'{"input": {}}', headers=headers)
        return str(reply.json()["headers"].get("Content-Type"))

    assert types() == "application/json"
    assert types(Origin="http://other.test") == "None"
    assert types(**{"Content-Type": "text/plain"}) == "text/plain"


def test_error_prefix_is_not_repeated(
    client: httpx.Client, upstream: type[Upstream], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(self: Upstream) -> None:
        body = b'{"error":"Prediction failed: Async prediction failed: x","logs":"\\"error\\":\\"Prediction"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    monkeypatch.setattr(upstream, "do_POST", failed)
    for _ in range(2):  # on one connection
        reply = client.post("/predictions", json={}).json()
        assert reply == {"error": "Prediction failed: x", "logs": '"error":"Prediction'}
