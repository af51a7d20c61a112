"""The same requests to plain Cog and to the service: every difference is listed here, and meant."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from musicgen_service.serving import schema
from tests.support.harness import PROJECT, Server, serving

pytestmark = pytest.mark.slow

VALID = {"prompt": "rock", "model_version": "small", "duration": 1, "seed": 5}
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Ask:
    """A request. `differs` says why the replies differ, where they do."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    differs: str = ""


def predict(differs: str = "", **inputs: Any) -> Ask:
    return Ask("POST", "/predictions", {"input": VALID | inputs}, differs=differs)


def raw(content: bytes, differs: str, **headers: str) -> Ask:
    return Ask("POST", "/predictions", content, JSON | headers, differs)


JSON_ERRORS = "errors are JSON"
STRICT = "what Cog ignores is refused by name"
REQUESTS = {
    # predictions that are made
    "text": predict(),
    "mp3": predict(output_format="mp3"),
    "variations": predict(variations=2),
    "whole numbers as floats": predict(variations=2.0, seed=5.0),
    "default id": Ask("POST", "/predictions", {"input": VALID}),
    "own id": Ask("POST", "/predictions", {"id": "a.b-c_1", "input": VALID}),
    "put": Ask("PUT", "/predictions/put-1", {"input": VALID}),
    "put with the same id": Ask("PUT", "/predictions/put-2", {"id": "put-2", "input": VALID}),
    "charset": Ask("POST", "/predictions", {"input": VALID}, {"Content-Type": "application/json; charset=utf-8"}),
    "query string": Ask("POST", "/predictions?x=1", {"input": VALID}),
    "prefer": Ask("POST", "/predictions", {"input": VALID}, {"Prefer": "wait=60"}),
    "accept": Ask("POST", "/predictions", {"input": VALID}, {"Accept": "text/html"}),
    "context": Ask("POST", "/predictions", {"input": VALID, "context": {"a": "b"}}),
    "output file prefix": Ask("POST", "/predictions", {"input": VALID, "output_file_prefix": "x"}),
    "events filter": Ask("POST", "/predictions", {"input": VALID, "webhook_events_filter": ["completed"]}),
    "rock in Japanese": predict(prompt="ロック"),
    # predictions that fail
    "nothing to do": Ask("POST", "/predictions", {"input": {"model_version": "small"}}, differs="one prefix"),
    "no input": Ask("POST", "/predictions", {}, differs="one prefix"),
    "no such model here": predict(differs="one prefix", model_version="large"),
    "local file": predict(differs="one prefix", input_audio="/etc/passwd"),
    "no audio": predict(differs="one prefix", input_audio="data:audio/wav;base64,bm8gYXVkaW8="),
    # inputs that are invalid
    "choice": predict(task="xyzzy"),
    "model": predict(model_version="xyzzy"),
    "format": predict(output_format="xyzzy"),
    "near choice": predict(differs="a suggestion", model_version="stereo-larg"),
    "too short": predict(duration=0.5),
    "too long": predict(duration=601),
    "negative seed": predict(seed=-2),
    "large seed": predict(seed=2**32),
    "fraction": predict(variations=1.5),
    "text for a number": predict(duration="8"),
    "number for a text": predict(prompt=5),
    "number for a flag": predict(continuation=1),
    "list": predict(prompt=["a"]),
    "two problems": predict(duration=0, top_k="many"),
    "null": predict(differs="null counts as left out", bpm=None),
    "unknown input": predict(differs=STRICT, mood="happy"),
    "input of another kind": Ask("POST", "/predictions", {"input": 5}),
    "inputs outside": Ask("POST", "/predictions", VALID, differs=STRICT),
    "unknown field": Ask("POST", "/predictions", {"input": VALID, "xyzzy": 1}, differs=STRICT),
    "another id than in the path": Ask("PUT", "/predictions/put-3", {"id": "x", "input": VALID}),
    "id that is no name": Ask("POST", "/predictions", {"id": "a b", "input": VALID}, differs="ids are plain"),
    "id of another kind": Ask("POST", "/predictions", {"id": 5, "input": VALID}, differs=JSON_ERRORS),
    "webhook of another kind": Ask("POST", "/predictions", {"webhook": 5, "input": VALID}, differs=JSON_ERRORS),
    "webhook that is none": Ask(
        "POST", "/predictions", {"webhook": "x", "input": VALID}, differs="webhooks are checked"
    ),
    "unknown event": Ask("POST", "/predictions", {"webhook_events_filter": ["x"], "input": VALID}, differs=JSON_ERRORS),
    # bodies
    "no JSON": raw(b"{", JSON_ERRORS),
    "nothing": raw(b"", "no body counts as no inputs"),
    "list for an object": raw(b"[]", JSON_ERRORS),
    "keys twice": raw(b'{"input":{},"input":{}}', JSON_ERRORS),
    "plain text": raw(b"{}", JSON_ERRORS, **{"Content-Type": "text/plain"}),
    "form": raw(b"a=b", JSON_ERRORS, **{"Content-Type": "application/x-www-form-urlencoded"}),
    "event stream": Ask("POST", "/predictions", {"input": VALID}, {"Accept": "text/event-stream"}, "has `status`"),
    # other routes
    "health": Ask("GET", "/health-check"),
    "health, head": Ask("HEAD", "/health-check"),
    "health with a query": Ask("GET", "/health-check?x=1"),
    "schema": Ask("GET", "/openapi.json", differs="our own routes"),
    "root": Ask("GET", "/", differs="our own routes"),
    "unknown cancel": Ask("POST", "/predictions/nothing/cancel", differs="has `error`"),
    "unknown route": Ask("GET", "/xyzzy", differs=JSON_ERRORS),
    "documentation": Ask("GET", "/docs", differs=JSON_ERRORS),
    "delete": Ask("DELETE", "/predictions", differs=JSON_ERRORS),
    "options": Ask("OPTIONS", "/predictions", differs="says what is possible"),
    "own predictions": Ask("GET", "/predictions", differs="predictions can be listed"),
    "job": Ask("GET", "/predictions/own", differs="predictions can be polled"),
}


@pytest.fixture(scope="module")
def cog(folder_to_serve: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Plain Cog with its schema."""
    folder = tmp_path_factory.mktemp("plain")
    for name in ("predict.py", "musicgen_service"):
        (folder / name).symlink_to(PROJECT / name)
    schema.write(folder, "predict.py:Predictor")
    settings = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "COG_PREDICT_TYPE_STUB": "predict.py:Predictor",
        "COG_MAX_CONCURRENCY": "8",
        "MUSICGEN_WEIGHTS": str(folder_to_serve),
        "MUSICGEN_MODELS": "small",
    }
    with serving(["-m", "cog.server.http", "--host", "127.0.0.1"], folder, folder / "temp", **settings) as running:
        yield running


def answer(server: Server, ask: Ask) -> tuple[int, Any]:
    """Status and content of a reply, without what differs from reply to reply."""
    content = ask.body if isinstance(ask.body, bytes) else None if ask.body is None else json.dumps(ask.body).encode()
    headers = (JSON if isinstance(ask.body, dict) else {}) | ask.headers
    reply: httpx.Response = server.client.request(ask.method, ask.path, content=content, headers=headers)
    try:
        shown = reply.json() if reply.content else None
    except ValueError:
        return reply.status_code, reply.text
    if isinstance(shown, dict) and "status" in shown:
        if "id" in shown and not ask.path.startswith("/predictions/") and "id" not in (ask.body or {}):
            assert shown.pop("id")
        shown.get("metrics", {}).pop("predict_time", None)
        for name in ("setup", "version"):
            shown.pop(name, None)
    return reply.status_code, shown


@pytest.mark.parametrize("name", REQUESTS)
def test_replies_are_cogs_but_for_what_is_listed(name: str, cog: Server, server: Server) -> None:
    ask = REQUESTS[name]
    plain, ours = answer(cog, ask), answer(server, ask)
    if ours[0] == 422 and "detail" in ours[1]:
        # In every refusal: Cog's form, and the sentences as in any other error.
        assert ours[1].pop("status") == "failed"
        assert ours[1].pop("error") == " ".join(problem["msg"] for problem in ours[1]["detail"])
    assert (plain != ours) == bool(ask.differs), (plain, ours)
    if plain[0] >= 400:
        assert ours[0] < 500
