"""What the gateway answers, and what Cog's server gets."""

import http.client
import json
import re
import socket
from typing import Any

import httpx
import pytest

from musicgen_service.serving.routes import ROUTES
from tests.serving.conftest import SCHEMA
from tests.serving.test_jobs import ended, job, submit
from tests.support.fake_cog import FakeCog


def raw(client: httpx.Client, request: bytes) -> bytes:
    """Send bytes; returns everything that comes until the connection is closed."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_reply_is_cogs_own(client: httpx.Client, cog: FakeCog) -> None:
    for _ in range(2):  # on one connection
        reply = client.post("/predictions", json={"id": "Plain_1.a-b", "input": {"prompt": "ü"}})
        assert reply.status_code == 200
        assert reply.json() == {
            "id": "Plain_1.a-b",
            "status": "succeeded",
            "output": ["data:audio/wav;base64,w7w="],
            "logs": "task text\n50 %\n",
            "metrics": {"predict_time": 0.1},
        }
    assert "server" not in reply.headers


def test_cog_gets_what_the_gateway_wrote(client: httpx.Client, cog: FakeCog) -> None:
    body = (
        b'{ "id":"mine", "version":"x","context" : {"a":"b"}, "input":{"prompt":"\\u0061 \xf0\x9f\x8e\xb7","seed":1.0}}'
    )
    headers = {"Content-Type": "Application/JSON; Charset=UTF-8", "X-Evil": "1", "Cookie": "a=b", "Prefer": "wait=5"}
    assert client.post("/predictions", content=body, headers=headers).json()["id"] == "mine"
    [request] = cog.requests
    assert request.pop("webhook").startswith("http://127.0.0.1:")
    key = request.pop("id")
    assert len(key) == 32 and "mine" not in str(request)
    assert request.pop("context").keys() == {"audio_ticket", "traceparent"}
    assert request == {
        "input": {"prompt": "a 🎷", "seed": 1.0},
        "webhook_events_filter": ["start", "logs", "completed"],
    }
    own = {"host", "accept", "accept-encoding", "connection", "user-agent", "content-length", "content-type"}
    assert set(cog.headers[0]) == own | {"traceparent"} and "httpx" in cog.headers[0]["user-agent"]


def test_null_input_is_removed(client: httpx.Client, cog: FakeCog) -> None:
    client.post("/predictions", json={"webhook": None, "id": None, "input": {"seed": None, "top_p": 0}})
    assert cog.requests[0]["input"] == {"top_p": 0}


def test_a_put_has_its_id_in_the_path(client: httpx.Client) -> None:
    assert client.put("/predictions/abc", json={"input": {}}).json()["id"] == "abc"
    assert client.put("/predictions/abc", json={"id": "abc", "input": {}}).json()["id"] == "abc"
    reply = client.put("/predictions/abc", json={"id": "abd", "input": {}})
    assert (reply.status_code, reply.json()["detail"][0]["loc"]) == (422, ["body", "id"])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/health-check", "/openapi.json", "/health-check?x=1", "/?"])
def test_allowed_requests_are_answered(client: httpx.Client, method: str, path: str) -> None:
    reply = client.request(method, path)
    assert reply.status_code == 200 and reply.headers["content-type"] == "application/json"
    assert bool(reply.content) == (method == "GET")


def test_the_schema_of_the_predictor_is_as_it_is(client: httpx.Client) -> None:
    shown = client.get("/openapi.json").json()
    assert {name: shown[name] for name in ("openapi", "info")} == {name: SCHEMA[name] for name in ("openapi", "info")}
    assert SCHEMA["paths"]["/predictions"].items() <= shown["paths"]["/predictions"].items()
    assert SCHEMA["components"]["schemas"].items() <= shown["components"]["schemas"].items()


def test_the_schema_has_every_route(client: httpx.Client, cog: FakeCog) -> None:
    shown = client.get("/openapi.json").json()
    described = {(method.upper(), path) for path, found in shown["paths"].items() for method in found}
    named = {tuple(route.split(" ")) for route in ROUTES if " " in route and "/v1/" not in route}
    assert {
        (method, re.sub("[A-Z]+", lambda word: f"{{{word[0].lower()}}}", path)) for method, path in named
    } <= described
    for method, path in described:
        reply = client.request(method, re.sub(r"{\w+}", "x", path))
        assert reply.status_code != 405 and "There is nothing here" not in reply.text, (method, path)
    references = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(shown))
    assert {"Job", "Upload", "Refusal"} <= set(references) <= shown["components"]["schemas"].keys()
    operations = [found["operationId"] for path in shown["paths"].values() for found in path.values()]
    assert len(set(operations)) == len(operations)


def test_a_job_is_as_described(client: httpx.Client, cog: FakeCog) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    submit(client, "described")
    assert job(client, "described").keys() <= schemas["Job"]["properties"].keys()
    assert ended(client, "described").keys() <= schemas["Job"]["properties"].keys()
    upload = client.post("/files", files={"content": ("a.wav", b"x")}).json()
    assert upload.keys() == schemas["Upload"]["properties"].keys()
    assert client.delete(f"/files/{upload['id']}").status_code == 204


def test_the_root_names_every_route(client: httpx.Client) -> None:
    assert "POST /predictions" in client.get("/").json()["routes"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/shutdown", 404),
        ("POST", "/trainings", 404),
        ("PUT", "/trainings/abc", 404),
        ("GET", "/docs", 404),
        ("POST", "/health-check", 405),
        ("DELETE", "/predictions", 405),
        ("POST", "/predictions/../shutdown", 405),
        ("PUT", "/predictions/../shutdown", 422),
        ("BREW", "/predictions", 405),
        ("GET", "//predictions", 404),
        ("GET", "/predictions%00", 404),
    ],
)
def test_other_requests_are_refused_in_json(
    client: httpx.Client, cog: FakeCog, method: str, path: str, status: int
) -> None:
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port)
    connection.request(method, path)  # as it stands
    reply = connection.getresponse()
    content = json.loads(reply.read())
    connection.close()
    assert (reply.status, content["status"]) == (status, "failed") and content["error"]
    assert cog.requests == []


def test_options_says_what_is_possible(client: httpx.Client) -> None:
    reply = client.options("/predictions", headers={"Origin": "http://a.test"})
    assert reply.status_code == 204 and "POST" in reply.headers["allow"]
    assert not any(name.startswith("access-control") for name in reply.headers)


def test_query_strings_are_ignored(client: httpx.Client) -> None:
    assert client.post("/predictions?x=1", json={"input": {}}).status_code == 200


def test_chunked_bodies_are_read(client: httpx.Client, cog: FakeCog) -> None:
    reply = client.post(
        "/predictions",
        content=iter([b'{"input":', b'{"prompt":"a"}}']),
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 200 and cog.prompts == ["a"]


def test_expect_continue_is_answered(client: httpx.Client) -> None:
    head = b"POST /predictions HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: "
    assert raw(client, head + b"2\r\n\r\n{}").startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    refused = raw(client, head + b"999999999\r\n\r\n")  # before a byte of it was sent
    assert refused.startswith(b"HTTP/1.1 413 ") and b"100 MiB at most" in refused


def test_a_body_of_a_get_is_not_the_next_request(client: httpx.Client, cog: FakeCog) -> None:
    inner = b"POST /predictions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
    first = b"GET /health-check HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(inner)
    last = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert raw(client, first + inner + last).count(b"HTTP/1.1 200") == 2
    assert cog.requests == []


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0",
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"Content-Length: +2\r\n\r\n{}",
        b"Content-Length: 2\r\n folded: x\r\n\r\n{}",
        b"Content-Length : 2\r\n\r\n{}",
        b"X: a\rContent-Length: 2\r\n\r\n{}",
        b"Transfer-Encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0",
        b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0",
        b"Content-Length: " + b"9" * 4400 + b"\r\n\r\n{}",
    ],
)
def test_ambiguous_requests_get_one_reply(client: httpx.Client, cog: FakeCog, head: bytes) -> None:
    smuggled = b"\r\n\r\nGET /openapi.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    replies = raw(client, b"POST /predictions HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + head + smuggled)
    assert replies.count(b"HTTP/1.1 ") == 1 and replies.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), replies
    assert b'"error"' in replies
    assert cog.requests == []


BAD_IDS = ["../../x", "..", ".hidden", "a/b", "a\\b", "a b", "a\n", "", "-x", "ä", "x" * 129, "a\0b", "%2e%2e"]


@pytest.mark.parametrize("given", BAD_IDS)
def test_an_id_must_be_plain(client: httpx.Client, cog: FakeCog, given: str) -> None:
    replies = [client.post("/predictions", json={"id": given, "input": {}})]
    path = "".join(f"%{byte:02x}" for byte in given.encode())
    replies += [client.put(f"/predictions/{path}", json={}), client.post(f"/predictions/{path}/cancel")]
    for reply in replies:
        assert (reply.status_code, reply.json()["error"][:10]) == (422, "id must be")
    assert cog.requests == []


def test_event_streams_are_not_acceptable(client: httpx.Client) -> None:
    headers = {"Accept": "application/json, text/event-stream"}
    assert client.post("/predictions", json={"input": {}}, headers=headers).status_code == 406


@pytest.mark.parametrize("body", [[], [None, {"input": {}}, {}, "http://x", ["start"]], 5, "x", None])
def test_a_body_must_be_an_object(client: httpx.Client, cog: FakeCog, body: Any) -> None:
    reply = client.post("/predictions", content=json.dumps(body))
    assert (reply.status_code, reply.json()["error"]) == (422, "The body must be a JSON object.")
    assert cog.requests == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("id", 5), ("webhook", 5), ("webhook_events_filter", ["x"]), ("webhook_events_filter", "start")],
)
def test_fields_have_types(client: httpx.Client, cog: FakeCog, field: str, value: Any) -> None:
    reply = client.post("/predictions", json={"input": {}, field: value})
    assert reply.status_code == 422 and reply.json()["error"].startswith(field)
    assert cog.requests == []
