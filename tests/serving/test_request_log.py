"""The access log: a line for each request, without what is in it."""

import json
import socket
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from musicgen_service.serving import request_log
from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.request_log import write_line
from tests.serving.conftest import client_of, gateway_of, running
from tests.support.fake_cog import FakeCog, fake_cog
from tests.support.harness import wait_until

FIELDS = ["time", "method", "path", "status", "seconds", "bytes", "client", "key", "prediction", "trace_id", "span_id"]


class Log:
    """Lines that are written from now on; each a moment after the reply.

    Parameters
    ----------
    written : all lines
    """

    def __init__(self, written: list[bytes]) -> None:
        self._written = written
        self._start = len(written)

    @property
    def text(self) -> str:
        """All of them."""
        return "\n".join(line.decode() for line in self._written[self._start :])

    def lines(self, count: int) -> list[dict[str, Any]]:
        """The first lines, when there are so many."""
        wait_until(lambda: len(self._written) >= self._start + count)
        return [json.loads(line) for line in self._written[self._start :]]


@pytest.fixture(scope="module")
def written() -> Iterator[list[bytes]]:
    """What would go to standard output: reading what pytest captures loses a line that is written meanwhile."""
    lines: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request_log, "write_line", lines.append)
        yield lines


@pytest.fixture(scope="module")
def served(written: list[bytes]) -> Iterator[tuple[Gateway, FakeCog]]:
    """As for all tests, but with the log."""
    with fake_cog() as cog, running(gateway_of(lambda: cog.server_port, access_log=True)) as gateway:
        yield gateway, cog


@pytest.fixture
def log(written: list[bytes]) -> Log:
    return Log(written)


def test_a_line_says_who_asked_for_what(client: httpx.Client, cog: FakeCog, log: Log) -> None:
    body = {"id": "mine", "input": {"prompt": "a secret"}}
    reply = client.post("/predictions?token=secret", json=body, headers={"Authorization": "Bearer secret"})
    [line] = log.lines(1)
    assert list(line) == FIELDS
    assert line["method"] == "POST" and line["path"] == "/predictions" and line["status"] == 200
    assert line["client"] == "127.0.0.1" and line["key"] is None and line["prediction"] == "mine"
    assert line["bytes"] == len(reply.content) and 0 < line["seconds"] < 60
    assert reply.headers["traceparent"] == f"00-{line['trace_id']}-{line['span_id']}-00"
    assert datetime.fromisoformat(line["time"]).tzinfo is not None
    assert "secret" not in log.text


def test_paths_are_templates(client: httpx.Client, cog: FakeCog, log: Log) -> None:
    body = {"input": {"prompt": "sound"}}
    made = client.post("/predictions", json=body, headers={"Prefer": "output=url"}).json()
    client.get(made["output"][0])
    client.get(f"/predictions/{made['id']}")
    client.post("/predictions/none/cancel")
    client.get("/predictions/no%0aname")
    client.head("/livez")
    lines = log.lines(6)
    seen = [(line["path"], line["status"], line["prediction"]) for line in lines]
    # A line may be written after the next request has come.
    assert set(seen) == {
        ("/predictions", 200, made["id"]),
        ("/files/{token}/{name}", 200, None),
        ("/predictions/{id}", 200, made["id"]),
        ("/predictions/{id}/cancel", 404, "none"),
        ("/predictions/{id}", 422, None),
        ("/livez", 200, None),
    }
    assert [line["bytes"] for line in lines if line["method"] == "HEAD"] == [0]


def test_what_there_is_none_of_has_no_path(client: httpx.Client, log: Log) -> None:
    client.get("/secret")
    client.request("BREW", "/livez")
    assert [(line["method"], line["path"], line["status"]) for line in log.lines(2)] == [
        ("GET", None, 404),
        ("BREW", "/livez", 405),
    ]
    assert "secret" not in log.text


def test_a_client_that_hangs_up_has_a_line(gateway: Gateway, cog: FakeCog, log: Log) -> None:
    body = b'{"input":{"prompt":"endless"}}'
    with socket.create_connection(gateway.address) as connection:
        connection.sendall(b"POST /predictions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: bool(cog.requests))
    [line] = log.lines(1)
    assert (line["path"], line["status"]) == ("/predictions", 499)


def test_a_fault_of_our_own_has_a_line(
    client: httpx.Client, gateway: Gateway, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.availability, "health", lambda: 1 / 0)
    assert client.get("/health-check").status_code == 500
    assert log.lines(1)[0]["status"] == 500


def test_the_log_can_be_turned_off(log: Log) -> None:
    gateway = gateway_of(lambda: None)
    with running(gateway), client_of(gateway) as client:
        assert client.get("/livez").status_code == 200
    assert log.text == ""


def test_a_line_is_written_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    write_line(b'{"status":200}')
    assert capsys.readouterr().out == '{"status":200}\n'
