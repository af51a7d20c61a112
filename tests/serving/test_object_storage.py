"""`--upload-url`: the files of results are put into a store, by HTTP."""

import asyncio
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from musicgen_service.serving import cog_server, object_storage
from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.refusals import Refusal
from tests.serving.conftest import client_of, gateway_of, running
from tests.serving.test_jobs import ended, submit
from tests.support.fake_cog import fake_cog
from tests.support.harness import http_server

ALLOWED = "sv=2024&sr=c&sig=f00"
"""For all that is below an address."""


def signed(address: str) -> str:
    """An address with a signature of its path and query, as stores make them for one file."""
    parts = urlsplit(f"{address}?X-Amz-Expires=600&X-Amz-SignedHeaders=host")
    return f"{parts.geturl()}&X-Amz-Signature={_signature(parts.path, parts.query)}"


def _signature(path: str, query: str) -> str:
    return hmac.new(b"the bucket's secret", f"PUT\n{path}\n{query}".encode(), "sha256").hexdigest()


class Bucket(BaseHTTPRequestHandler):
    """Takes files whose address is signed, and gives them to everybody; refuses as many as it is told to."""

    objects: dict[str, tuple[bytes, str]]
    refusals: list[int]
    location: str

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        parts = urlsplit(self.path)
        if self.refusals:
            self.send_response(self.refusals.pop())
        elif not self._is_allowed(parts.path, parts.query) or self.headers["x-ms-blob-type"] != "BlockBlob":
            self.send_response(403)
        else:
            self.objects[parts.path] = content, str(self.headers["Content-Type"])
            self.send_response(200)
            if self.location:
                self.send_header("Location", f"{self.location}{parts.path}?{parts.query}")
        self.end_headers()

    def _is_allowed(self, path: str, query: str) -> bool:
        before, name, signature = query.rpartition("&X-Amz-Signature=")
        return signature == _signature(path, before) if name else parse_qs(query).get("sig") == ["f00"]

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.objects[self.path][0])

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(autouse=True)
def private_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    monkeypatch.setattr(object_storage, "_WAITS", (0.01, 0.01))


@contextmanager
def bucket(*refusals: int, location: str = "") -> Iterator[tuple[str, type[Bucket]]]:
    own = {"objects": {}, "refusals": list(refusals), "location": location}
    kind: type[Bucket] = type("Own", (Bucket,), own)
    with http_server(kind) as address:
        yield address, kind


@contextmanager
def storing(url: str) -> Iterator[tuple[Gateway, httpx.Client]]:
    with fake_cog() as cog:
        gateway = gateway_of(lambda: cog.server_port, upload_url=url)
        with running(gateway), client_of(gateway) as client:
            yield gateway, client


def test_files_are_put_below_the_address(capfd: pytest.CaptureFixture[str]) -> None:
    with bucket() as (address, store), storing(f"{address}/music/made?{ALLOWED}") as (_, client):
        [waited] = client.post("/predictions", json={"input": {"prompt": "sound"}}).json()["output"]
        submit(client, "later", "other")
        [polled] = ended(client, "later")["output"]
        hosted = client.post("/v1/models/acme/music/predictions", json={"input": {}}, headers={"Prefer": "wait"}).json()
        assert [httpx.get(found).content for found in (waited, polled)] == [b"sound", b"other"]
        assert hosted["output"].startswith(f"{address}/music/made/")
        heard = client.get("/predictions/later/audio")
        assert (heard.status_code, heard.headers["location"]) == (303, polled)
        for found in (waited, polled):
            assert found.startswith(f"{address}/music/made/") and "?" not in found
            assert store.objects[urlsplit(found).path][1] == "audio/wav"
    assert "f00" not in capfd.readouterr().err


def test_an_address_that_is_signed_for_a_file_takes_it_as_it_is() -> None:
    with bucket() as (address, store), storing(signed(f"{address}/music/a%20clip.wav")) as (gateway, client):
        for prompt in ("first", "second"):
            output = client.post("/predictions", json={"input": {"prompt": prompt}}).json()["output"]
            assert output == [f"{address}/music/a%20clip.wav"]
        assert store.objects == {"/music/a%20clip.wav": (b"second", "audio/wav")}
        saved = gateway._results.files.save([f"data:audio/wav;base64,{'AAAA' * 4}"] * 2)
        storage = object_storage.ObjectStorage(signed(f"{address}/x"))
        with pytest.raises(Refusal, match="the operator's address is signed for one, and there are 2"):
            asyncio.run(storage.put(saved, gateway._results.files))


@pytest.mark.parametrize("query", ["sr=d&sig=f00", "ss=b&srt=sco&sig=f00", "token=x&sig=f00&sr=c"])
def test_a_signature_for_a_folder_takes_files_below_it(query: str) -> None:
    with bucket() as (address, store), storing(f"{address}/made?{query}") as (_, client):
        [found] = client.post("/predictions", json={"input": {"prompt": "a"}}).json()["output"]
        assert found.startswith(f"{address}/made/") and len(store.objects) == 1


def test_the_store_may_say_where_a_file_is() -> None:
    with bucket(location="https://cdn.test") as (address, _), storing(f"{address}/?{ALLOWED}") as (_, client):
        [found] = client.post("/predictions", json={"input": {"prompt": "sound"}}).json()["output"]
        assert found.startswith("https://cdn.test/") and "?" not in found


def test_a_file_is_put_again_when_it_was_not_taken() -> None:
    with bucket(500, 503) as (address, _), storing(f"{address}/?{ALLOWED}") as (_, client):
        assert client.post("/predictions", json={"input": {"prompt": "a"}}).json()["status"] == "succeeded"


def test_what_is_not_taken_is_told() -> None:
    with bucket() as (address, store), storing(f"{address}/?sr=c&sig=old") as (_, client):
        reply = client.post("/predictions", json={"input": {"prompt": "a"}})
        assert (reply.status_code, reply.json()["error"]) == (502, "The files could not be uploaded: status 403.")
        submit(client, "refused")
        assert ended(client, "refused")["status"] == "failed" and store.objects == {}


def test_a_private_address_is_not_put_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUSICGEN_ALLOW_PRIVATE_URLS")
    with bucket() as (address, store):
        with storing(f"{address}/?{ALLOWED}") as (_, client):
            reply = client.post("/predictions", json={"input": {"prompt": "a"}})
            assert reply.status_code == 502 and "not on the public internet" in reply.json()["error"]
        assert store.objects == {}
        with pytest.raises(cog_server.ServeError, match="--upload-url cannot be used: its host is not on the public"):
            cog_server.serve("127.0.0.1", 0, upload_url=address)
    with pytest.raises(cog_server.ServeError, match=r"--upload-url must be an http\(s\) URL\."):
        cog_server.serve("127.0.0.1", 0, upload_url="s3://bucket")
