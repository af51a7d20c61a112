"""Where the worker sends audio, and what is kept of it."""

import socket
import stat
from pathlib import Path

import httpx
import pytest

from musicgen_service.serving.bodies import Memory
from musicgen_service.serving.gateway import Gateway
from tests.serving.conftest import client_of, gateway_of, running
from tests.serving.streams import HALF, heard, wav
from tests.serving.test_jobs import ended
from tests.support.fake_cog import FakeCog, fake_cog
from tests.support.harness import wait_until


def test_the_socket_is_private_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 120)  # longer than the address of a socket may be
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with fake_cog() as cog:
        gateway = gateway_of(lambda: cog.server_port, results=tmp_path / "results")
        cog.audio_socket = gateway.audio_socket
        cog.resume.set()
        with running(gateway), client_of(gateway) as client:
            assert stat.S_IMODE(gateway.audio_socket.parent.stat().st_mode) == 0o700
            with heard(client) as reply:
                assert reply.read() == wav()
                files = [path for path in gateway.audio_socket.parent.iterdir() if not path.name.startswith(".")]
                assert files == [gateway.audio_socket]
    assert list(deep.iterdir()) == []


def test_a_wrong_ticket_is_not_listened_to(gateway: Gateway, client: httpx.Client, cog: FakeCog) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(gateway.audio_socket))
        connection.sendall(b"0" * 32)
        assert connection.recv(1) == b""


def test_a_full_disk_ends_the_audio_alone(
    client: httpx.Client, gateway: Gateway, cog: FakeCog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway._audio, "_space", Memory(HALF))
    cog.resume.set()
    with pytest.raises(httpx.RemoteProtocolError), heard(client, path="/predictions/full/stream") as reply:
        reply.read()
    assert ended(client, "full")["status"] == "succeeded"


def test_recordings_are_given_up(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    cog.resume.set()
    with heard(client) as reply:
        reply.read()
    wait_until(lambda: not gateway.unfinished and not gateway._audio._space.held)
