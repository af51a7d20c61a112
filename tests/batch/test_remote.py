"""Batches on a server: a scripted one, which does what servers do on a bad day."""

import json
import time
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import soundfile

from musicgen_service.batch import remote
from musicgen_service.batch import server as server_module
from musicgen_service.serving.refusals import BROKE_DOWN, GIVEN_UP
from tests.batch.scripted import NO_KEY, OVERLOADED, REFUSED, SCHEMA, STARTING, Answer, Handler, Script, batch
from tests.support.batches import files, records, write_list
from tests.support.command import Capture
from tests.support.harness import free_port, http_server
from tests.support.shell import refusal
from tests.support.sounds import RATE, tone

pytestmark = pytest.mark.usefixtures("shell")


def test_clips_come_from_the_server(server: Script) -> None:
    write_list({"id": "a", "prompt": "rock"}, {"id": "b", "prompt": "jazz", "seed": 5})
    batch(server, "--set", "duration=2")
    assert set(files().values()) == {server.clip} and len(files()) == 2
    assert [record["timings"]["predict_seconds"] for record in records()] == [0.5, 0.5]
    sent = {body["prompt"]: body for body in server.bodies()}
    assert sent["jazz"] == {"prompt": "jazz", "duration": 2, "seed": 5} and sent["rock"]["seed"] > 0


def test_an_adapter_that_the_server_has_replaced_is_used_anew(server: Script, capsys: Capture) -> None:
    write_list({"prompt": "rock", "adapter": "style"})
    for digest in ("1" * 64, "1" * 64, "2" * 64):
        server.adapters = [{"name": "style", "base": "small", "sha256": digest}]
        batch(server)
    assert len(server.bodies()) == 2 and len({record["name"] for record in records()}) == 2
    server.adapters = []
    capsys.readouterr()
    with pytest.raises(SystemExit):
        batch(server)
    assert "line 1: There is no adapter 'style': present are none." in capsys.readouterr().err


def test_another_version_of_the_server_makes_other_clips(server: Script) -> None:
    write_list({"prompt": "rock"})
    for server.version in ("1.0", "1.0", "1.1"):
        batch(server)
    assert len(server.bodies()) == 2 and len({record["name"] for record in records()}) == 2


def test_a_file_is_sent_as_data(server: Script) -> None:
    soundfile.write("riff.wav", tone(0.1)[0], RATE)
    write_list({"input_audio": "riff.wav"}, {"input_audio": "https://example.com/a.wav"})
    batch(server)
    by_data, by_address = sorted(body["input_audio"] for body in server.bodies())
    assert by_data.startswith("data:audio/") and by_address == "https://example.com/a.wav"


@pytest.mark.parametrize("end", ["succeeded", "failed"])
def test_a_large_file_is_uploaded_for_the_time_of_its_request(
    server: Script, monkeypatch: pytest.MonkeyPatch, capsys: Capture, end: str
) -> None:
    monkeypatch.setattr(remote, "_MAX_INLINE", 100)
    server.end |= {"status": end}
    server.drops["POST /files"] = 1
    soundfile.write("riff.wav", tone(0.1)[0], RATE)
    write_list({"input_audio": "riff.wav"})
    with suppress(SystemExit):
        batch(server, "--key", "secret")
    assert records()[0]["status"] == end
    assert [body["input_audio"] for body in server.bodies()] == [f"{server.address}/files/a1/riff.wav"]
    [*_, upload] = [body["content"] for route, _, body, _ in server.asked if route == "POST /files"]
    assert Path("riff.wav").read_bytes() in upload and b'name="content"; filename="riff.wav"' in upload
    removed, kept = server.times("DELETE /files"), server.times("PUT /predictions")
    assert len(removed) == 1 and removed > kept
    assert {key for *_, key in server.asked} == {"Bearer secret"}


def test_a_file_that_the_server_does_not_take_is_listed(
    server: Script, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(remote, "_MAX_INLINE", 100)
    server.answers["POST /files"] = [(413, {"error": "A file may have 100 MiB at most."}, {})]
    soundfile.write("riff.wav", tone(0.1)[0], RATE)
    write_list({"input_audio": "riff.wav"})
    with pytest.raises(SystemExit):
        batch(server)
    error = f"{Path('riff.wav').absolute()} could not be uploaded: A file may have 100 MiB at most."
    assert records()[0]["error"] == error and server.bodies() == []


def test_a_server_may_say_the_date_when_it_is_asked_again(server: Script) -> None:
    status, content, _ = OVERLOADED
    date = int(time.time()) + 3
    server.answers["PUT /predictions"] = [(status, content, {"Retry-After": formatdate(date, usegmt=True)})]
    write_list({"prompt": "rock"})
    batch(server)
    *_, last = server.times("PUT /predictions")
    assert last + time.time() - time.monotonic() >= date - 0.1 and len(files()) == 1


def test_a_server_with_too_much_to_do_is_asked_again_when_it_says(server: Script, capsys: Capture) -> None:
    server.answers["PUT /predictions"] = [OVERLOADED]
    write_list({"prompt": "rock"})
    batch(server)
    first, second = server.times("PUT /predictions")
    assert 1 <= second - first < 5 and len(files()) == 1
    assert "waiting" not in capsys.readouterr().err  # which many requests of a large batch do


def test_a_server_that_is_not_ready_is_waited_for(server: Script, capsys: Capture) -> None:
    routes = ("GET /openapi.json", "GET /predictions", "GET /files")
    server.answers = {"PUT /predictions": [STARTING] * 3, **{route: [STARTING] for route in routes}}
    write_list({"prompt": "rock"})
    batch(server)
    assert len(files()) == 1
    waits = f"waiting for the server {server.address}: it is not ready: The service is starting\n"
    assert capsys.readouterr().err.count(waits) == 4  # a line for each time


@pytest.mark.parametrize("route", ["GET /openapi.json", "PUT /predictions", "GET /predictions", "GET /files"])
def test_a_connection_that_breaks_is_made_again(server: Script, route: str) -> None:
    server.drops[route] = 1
    write_list({"prompt": "rock"})
    batch(server)
    assert len(files()) == 1 and records()[0]["status"] == "succeeded"


def test_what_the_server_has_made_is_not_asked_for_again(server: Script) -> None:
    write_list({"prompt": "rock"})
    batch(server)
    Path("out", next(iter(files()))).unlink()
    batch(server)
    assert len(server.bodies()) == 1 and len(files()) == 1


def test_a_prediction_that_the_server_has_lost_is_sent_again(server: Script) -> None:
    gone: Answer = (404, {"error": "There is no such prediction.", "status": "failed"}, {})
    server.answers["GET /predictions"] = [gone, gone]  # before it is sent, and once after
    write_list({"prompt": "rock"})
    batch(server)
    assert len(server.bodies()) == 2 and len(files()) == 1


@pytest.mark.parametrize("error", GIVEN_UP)
def test_a_prediction_that_the_server_has_given_up_is_sent_again(server: Script, error: str) -> None:
    unknown: Answer = (404, {}, {})
    server.answers["GET /predictions"] = [unknown, (200, {"status": "failed", "error": error}, {})]
    write_list({"prompt": "rock"})
    batch(server)
    assert len(server.bodies()) == 2 and records()[0]["status"] == "succeeded"


def test_a_prediction_is_sent_three_times_at_most(server: Script, capsys: Capture) -> None:
    server.end = {"status": "failed", "error": BROKE_DOWN}
    write_list({"prompt": "rock"})
    with pytest.raises(SystemExit):
        batch(server)
    assert len(server.bodies()) == 3
    assert records()[0]["error"] == "The server lost the prediction, or gave it up, 3 times."


def test_a_prediction_that_an_earlier_run_has_canceled_is_sent_again(server: Script) -> None:
    states = ["processing", "processing", "canceled"]
    server.answers["GET /predictions"] = [(200, {"status": status}, {}) for status in states]
    write_list({"prompt": "rock"})
    batch(server)
    assert len(server.bodies()) == 2 and records()[0]["status"] == "succeeded"


def test_what_the_server_had_no_room_to_keep_is_made_again(server: Script, capsys: Capture) -> None:
    no_room = "The files of this prediction could not be kept: there was no room for them."
    write_list({"prompt": "rock"})
    kept, server.end = server.end, {"status": "succeeded", "output": None, "error": no_room}
    with pytest.raises(SystemExit):
        batch(server)
    assert records()[0]["status"] == "failed" and records()[0]["error"] == no_room
    server.end = kept
    server.answers["GET /predictions"] = [(200, {"status": "succeeded", "output": None, "error": no_room}, {})]
    batch(server, "--retry-failed")
    assert len(server.bodies()) == 2 and len(files()) == 1


@pytest.mark.parametrize(
    ("answers", "end", "error"),
    [
        ({}, {"status": "succeeded", "output": []}, "The server has no files of the prediction."),
        ({}, {"status": "failed", "error": "input_audio is silent."}, "input_audio is silent."),
        ({}, {"status": "canceled", "error": None}, "The prediction was canceled."),
        ({"PUT /predictions": [REFUSED]}, {"status": "succeeded"}, "There is no input 'x'."),
        ({"GET /files": [REFUSED]}, {"status": "succeeded"}, "A file of the reply could not be fetched: There is no "),
        ({}, {"status": "succeeded", "output": [".."]}, "The server's reply has an output that is no address of a"),
    ],
)
def test_a_request_that_fails_is_listed(
    server: Script, capsys: Capture, answers: dict[str, list[Answer]], end: dict[str, Any], error: str
) -> None:
    server.answers, server.end = answers, end
    write_list({"prompt": "rock"})
    with pytest.raises(SystemExit):
        batch(server)
    [record] = records()
    assert record["status"] == "failed" and record["error"].startswith(error) and files() == {}


@pytest.mark.parametrize("content", [b"no sound", b""])
def test_a_file_that_is_no_clip_is_not_kept(server: Script, content: bytes) -> None:
    server.clip = content
    write_list({"prompt": "rock"})
    with pytest.raises(SystemExit):
        batch(server)
    assert records()[0]["error"].startswith("What was made cannot be used: ") and files() == {}


def test_the_key_goes_to_the_server_alone(server: Script) -> None:
    write_list({"prompt": "rock"})
    Path("key").write_text("secret\n")
    batch(server, "--key", "@key")
    assert {key for *_, key in server.asked} == {"Bearer secret"}
    elsewhere = Script(clip=server.clip)
    with http_server(type("Elsewhere", (Handler,), {"script": elsewhere})) as address:
        server.files_at = address
        write_list({"prompt": "jazz"})
        batch(server, "--key", "secret")
    assert [key for *_, key in elsewhere.asked] == [None]


@pytest.mark.parametrize("route", ["GET /openapi.json", "PUT /predictions"])
def test_a_refused_key_ends_the_batch(server: Script, capsys: Capture, route: str) -> None:
    server.answers[route] = [NO_KEY]
    write_list({"prompt": "rock"})
    message = ended(capsys, server)
    assert message.startswith(f"error: The server {server.address} refuses access: A key is needed.")
    assert not Path("out").exists()


@pytest.mark.parametrize("route", ["PUT /predictions", "GET /predictions"])
def test_a_server_that_never_gets_ready_ends_the_batch(
    server: Script, capsys: Capture, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    monkeypatch.setattr(server_module, "_PATIENCE", 0.3)
    server.answers[route] = [STARTING] * 10_000
    write_list({"prompt": "rock"})
    message = ended(capsys, server)
    assert message.startswith(f"error: The server {server.address} is not ready: The service is starting. 0 of 1")
    assert not Path("out").exists()


def test_a_server_that_is_not_there_ends_the_batch(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_PATIENCE", 0.3)
    write_list({"prompt": "rock"})
    nobody = Script(address=f"http://127.0.0.1:{free_port()}")
    assert ended(capsys, nobody).startswith(f"error: The server {nobody.address} cannot be reached: ")
    assert not Path("out").exists()


def test_another_kind_of_server_is_recognised(server: Script, capsys: Capture) -> None:
    server.schema = {"openapi": "3.1.0"}
    write_list({"prompt": "rock"})
    assert "is no server of this service: it publishes no schema of inputs." in ended(capsys, server)


def test_inputs_that_the_server_does_not_have_are_reported_before_anything_is_sent(
    server: Script, capsys: Capture
) -> None:
    server.schema = json.loads(json.dumps(SCHEMA))
    del server.schema["components"]["schemas"]["Input"]["properties"]["return_midi"]
    write_list({"prompt": "rock"}, {"prompt": "jazz", "return_midi": True})
    capsys.readouterr()
    with pytest.raises(SystemExit) as refused:
        batch(server)
    assert refused.value.code == 2
    assert "line 2: There is no input 'return_midi'" in capsys.readouterr().err
    assert server.bodies() == [] and not Path("out").exists()


def test_a_dry_run_sends_nothing(server: Script, capsys: Capture) -> None:
    write_list({"prompt": "rock"})
    batch(server, "--dry-run")
    assert "shows after the first clips" in capsys.readouterr().out and server.bodies() == []


def test_an_address_that_is_none_is_refused(capsys: Capture) -> None:
    write_list({"prompt": "rock"})
    assert ended(capsys, Script(address="http://a:b")).startswith("error: http://a:b is no address of a server: ")
    assert refusal(capsys, "batch", "list.jsonl", "out", "--server", "ftp://a").startswith("error: --server must be")


def ended(capsys: Capture, script: Script) -> str:
    """The error message of a batch that ended early."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        batch(script)
    assert isinstance(ended.value.code, str)  # which Python prints as it ends, with status 1
    return ended.value.code
