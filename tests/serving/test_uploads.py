"""Files that clients upload, and their addresses as inputs."""

import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from musicgen_service.serving import bodies, uploads
from musicgen_service.serving.gateway import Gateway
from tests.serving.conftest import client_of, gateway_of, running
from tests.serving.test_jobs import ended, job, submit, sweep
from tests.support.fake_cog import FakeCog, fake_cog
from tests.support.harness import wait_until

WAV = ("riff.wav", b"RIFF of ten", "audio/wav")
MIB = 2**20


@pytest.fixture(scope="module")
def small() -> Iterator[Gateway]:
    """A gateway that takes 1 MiB a file, and 2 MiB a client."""
    with fake_cog() as cog, running(gateway_of(lambda: cog.server_port, max_upload=MIB, max_uploads=2 * MIB)) as it:
        yield it


def upload(client: httpx.Client, file: Any = WAV, **fields: Any) -> dict[str, Any]:
    reply = client.post("/files", files={"content": file}, data=fields)
    assert reply.status_code == 201, reply.text
    content: dict[str, Any] = reply.json()
    return content


def stored(gateway: Gateway) -> list[Path]:
    return [path for path in gateway.files_folder.rglob("*") if path.is_file()]


def test_a_file_gets_an_address(client: httpx.Client, gateway: Gateway) -> None:
    about = upload(client, metadata='{"take": 2}')
    address = about["urls"]["get"]
    assert address == f"{client.base_url}/files/{about['id']}/riff.wav"
    assert (about["name"], about["content_type"], about["size"]) == ("riff.wav", "audio/wav", 11)
    assert about["checksums"] == {"sha256": hashlib.sha256(WAV[1]).hexdigest()} and about["metadata"] == {"take": 2}
    times = [datetime.fromisoformat(about[name]) for name in ("created_at", "expires_at")]
    assert (times[1] - times[0]).total_seconds() == 3600
    reply = httpx.get(address)
    assert (reply.content, reply.headers["content-type"]) == (WAV[1], "audio/wav")
    assert httpx.get(address, headers={"Range": "bytes=0-3"}).content == b"RIFF"


def test_uploads_are_listed_and_deleted_by_their_owner(client: httpx.Client, gateway: Gateway) -> None:
    with client_of(gateway, "127.0.0.9") as owner, client_of(gateway, "127.0.0.10") as stranger:
        first, second = upload(owner), upload(owner)
        assert owner.get("/files").json()["results"] == [second, first]
        assert owner.get(f"/files/{first['id']}").json() == first
        assert stranger.get("/files").json()["results"] == []
        for method in ("GET", "DELETE"):
            assert stranger.request(method, f"/files/{first['id']}").status_code == 404
        assert owner.delete(f"/files/{first['id']}").status_code == 204
        assert owner.delete(f"/files/{first['id']}").status_code == 404
        assert httpx.get(first["urls"]["get"]).status_code == 404
        assert owner.get("/files").json()["results"] == [second]


@pytest.mark.parametrize(
    ("name", "kind", "kept"),
    [
        ("../../etc/passwd", "audio/mpeg", "passwd.mp3"),
        ("C:\\music\\My Song (1).MP3", "audio/mpeg", "My-Song-1.mp3"),
        (".wav", "audio/wav", "file.wav"),
        ("Lied für Ä.flac", "audio/flac", "Lied-f-r.flac"),
        ("x" * 300 + ".ogg", "audio/ogg", "x" * 80 + ".ogg"),
        ("a.<script>", "text/html", "a.script"),
        ("name", "", "name.bin"),
        ("???", "audio/wav", "file.wav"),
        ("mix.final_v2", "audio/wav", "mix.finalv2"),
        ("take.m-4a", "audio/mp4", "take.m4a"),
        ("song.", "audio/wav", "song.wav"),
        ("a.日本", "audio/mpeg", "a.mp3"),
    ],
)
def test_names_are_made_plain(client: httpx.Client, name: str, kind: str, kept: str) -> None:
    address = upload(client, (name, b"x", kind))["urls"]["get"]
    assert address.rpartition("/")[2] == kept
    reply = httpx.get(address)
    assert reply.content == b"x" and reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-type"].startswith(("audio/", "application/octet-stream"))


@pytest.mark.parametrize(
    ("files", "status", "sentence"),
    [
        ({"content": ("a.wav", b"", "audio/wav")}, 422, "The file is empty."),
        ({"metadata": ("m", b"{}", "application/json")}, 422, "The form has no file: put it in the field 'content'."),
        ({"content": WAV, "metadata": ("m", b"{", "application/json")}, 422, "metadata must be JSON."),
        ({"content": WAV, "metadata": ("m", b"1" * 5000, "application/json")}, 413, "metadata may have 4,096"),
        ([("content", WAV)] * 2, 422, "The form has more than one file: upload one at a time."),
        ([("content", WAV), ("other", WAV)], 422, "The form has more than one file: upload one at a time."),
        ([("content", WAV)] * 3, 400, "The form cannot be read: Too many files. Maximum number of files is 2."),
    ],
)
def test_a_form_needs_one_file(client: httpx.Client, gateway: Gateway, files: Any, status: int, sentence: str) -> None:
    before = stored(gateway)
    reply = client.post("/files", files=files)
    assert (reply.status_code, reply.json()["error"][: len(sentence)]) == (status, sentence)
    assert stored(gateway) == before


def test_other_bodies_are_refused(client: httpx.Client) -> None:
    reply = client.post("/files", content=b"RIFF", headers={"Content-Type": "audio/wav"})
    assert reply.status_code == 415 and "multipart/form-data" in reply.json()["error"]
    reply = client.post("/files", content=b"x", headers={"Content-Type": "multipart/form-data"})
    assert (reply.status_code, reply.json()["error"]) == (
        400,
        "The form cannot be read: Missing boundary in multipart.",
    )
    reply = client.post("/files", content=b"x", headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert reply.status_code == 400


def test_an_archive_may_be_larger_than_other_files() -> None:
    with (
        fake_cog() as cog,
        running(gateway_of(lambda: cog.server_port, max_upload=MIB, max_archive=2 * MIB)) as gateway,
        client_of(gateway) as client,
    ):
        assert upload(client, ("songs.ZIP", bytes(2 * MIB), "application/zip"))["size"] == 2 * MIB
        for name, size, limit in (("songs.tar", 2 * MIB + 1, 2), ("a.wav", 2 * MIB, 1)):
            reply = client.post("/files", files={"content": (name, bytes(size), "")})
            assert (reply.status_code, reply.json()["error"]) == (413, f"A file may have {limit} MiB at most.")


def test_a_file_has_a_maximum_size(small: Gateway) -> None:
    with client_of(small) as client:
        assert upload(client, ("a.wav", bytes(MIB), "audio/wav"))["size"] == MIB
        before = stored(small)
        for size in (MIB + 1, 3 * MIB):
            reply = client.post("/files", files={"content": ("a.wav", bytes(size), "audio/wav")})
            assert (reply.status_code, reply.json()["error"]) == (413, "A file may have 1 MiB at most.")
        parts = iter(
            [b'--b\r\nContent-Disposition: form-data; name="content"; filename="a"\r\n\r\n', *[bytes(MIB)] * 3]
        )
        chunked = client.post("/files", content=parts, headers={"Content-Type": "multipart/form-data; boundary=b"})
        assert chunked.status_code == 413
        assert stored(small) == before


def test_a_client_has_a_maximum_of_all_files(small: Gateway) -> None:
    with client_of(small, "127.0.0.2") as client, client_of(small, "127.0.0.3") as other:
        first = upload(client, ("a.wav", bytes(MIB), "audio/wav"))
        replies = []

        def post() -> None:
            with client_of(small, "127.0.0.2") as own:
                replies.append(own.post("/files", files={"content": ("b.wav", bytes(MIB), "audio/wav")}).status_code)

        threads = [threading.Thread(target=post) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(replies) == [201, 413, 413, 413]
        reply = client.post("/files", files={"content": WAV})
        assert reply.status_code == 413 and "100 files of 2 MiB together" in reply.json()["error"]
        upload(other)
        client.delete(f"/files/{first['id']}")
        upload(client)


def test_a_client_has_a_maximum_number_of_files(small: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_FILES", 2)
    with client_of(small, "127.0.0.4") as client:
        upload(client), upload(client)
        assert client.post("/files", files={"content": WAV}).status_code == 413


def test_all_clients_have_a_maximum_together(small: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_BYTES", 10)
    with client_of(small, "127.0.0.5") as client:
        reply = client.post("/files", files={"content": WAV})
        assert reply.status_code == 503 and "no room" in reply.json()["error"] and reply.headers["retry-after"]


def test_a_full_disk_is_told(client: httpx.Client, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(uploads, "_write", full)
    before = stored(gateway)
    assert client.post("/files", files={"content": WAV}).status_code == 503
    assert stored(gateway) == before and len(list(gateway.files_folder.iterdir())) == len({p.parent for p in before})


def test_an_upload_has_a_time() -> None:
    go_on = threading.Event()

    def parts() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="content"; filename="a"\r\n\r\nx'
        go_on.wait(5)

    threading.Timer(1.0, go_on.set).start()
    with fake_cog() as cog:
        gateway = gateway_of(lambda: cog.server_port, body_limits=bodies.Limits(seconds=0.2))
        with running(gateway), client_of(gateway) as client:
            try:
                headers = {"Content-Type": "multipart/form-data; boundary=b"}
                reply = client.post("/files", content=parts(), headers=headers)
            except httpx.TransportError:
                return  # the service closed the connection while the body was being sent
    assert reply.status_code == 408


def test_a_client_uploads_a_few_files_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_MAX_ARRIVING", 0)
    with running(gateway_of(lambda: None)) as gateway, client_of(gateway) as client:
        reply = client.post("/files", files={"content": WAV})
        assert reply.status_code == 429 and reply.headers["retry-after"] == "1"


def test_uploads_expire_and_survive_a_restart(tmp_path: Path) -> None:
    with fake_cog() as cog:
        first = gateway_of(lambda: cog.server_port, results=tmp_path)
        with running(first), client_of(first) as client:
            about = upload(client)
        again: dict[str, Any] = {"results": tmp_path, "port": first.address[1]}
        with running(gateway_of(lambda: cog.server_port, **again)) as second, client_of(second) as client:
            assert client.get(f"/files/{about['id']}").json() == about
            assert httpx.get(about["urls"]["get"]).content == WAV[1]
        third = gateway_of(lambda: cog.server_port, keep_seconds=0, **again)
        with running(third), client_of(third) as client:
            sweep(third)
            assert client.get("/files").json()["results"] == [] and stored(third) == []


def test_an_upload_stays_as_long_as_a_prediction_needs_it(tmp_path: Path) -> None:
    with fake_cog() as cog:
        gateway = gateway_of(lambda: cog.server_port, results=tmp_path, keep_seconds=0)
        with running(gateway), client_of(gateway) as client:
            address = upload(client)["urls"]["get"]
            body = {"id": "uses", "input": {"prompt": "wait", "input_audio": address}}
            client.post("/predictions", json=body, headers={"Prefer": "respond-async"})
            sweep(gateway)
            assert httpx.get(address).status_code == 200
            cog.resume.set()
            assert ended(client, "uses")["status"] == "succeeded"
            wait_until(lambda: not gateway.unfinished)
            sweep(gateway)
            assert httpx.get(address).status_code == 404


def test_an_address_that_is_no_more_is_refused(client: httpx.Client, cog: FakeCog) -> None:
    submit(client, "made", "sound")
    [own] = ended(client, "made")["output"]
    about = upload(client)
    for address in (own, about["urls"]["get"]):
        assert client.post("/predictions", json={"input": {"input_audio": address}}).json()["status"] == "succeeded"
    client.delete(f"/files/{about['id']}")
    reply = client.post("/predictions", json={"input": {"input_audio": about["urls"]["get"]}})
    assert reply.status_code == 422 and reply.json()["detail"][0]["loc"] == ["body", "input", "input_audio"]
    assert "no file of this service" in reply.json()["error"]
    assert len(cog.requests) == 3 and json.dumps(cog.requests[1]["input"]) == json.dumps({"input_audio": own})
    assert job(client, "made")["output"] == [own]
