"""A fetch ends with its request in every state, and leaves no files."""

import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from musicgen_service.inputs import fetching
from musicgen_service.inputs.fetching import SourceError
from musicgen_service.requests.fields import FIELDS
from tests.support.harness import TIMEOUT, http_server, wait_until
from tests.support.website import Site

WAITING = {
    "a silent server": b"",
    "headers that never end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10,
    "endless continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "a body that never ends": b"HTTP/1.1 200 OK\r\n\r\n",
    "a redirect without end": b"HTTP/1.1 302 Found\r\nLocation: /x\r\nX: ",
}


@pytest.mark.parametrize("ended", ["cancelled", "late"])
@pytest.mark.parametrize("kind", WAITING)
def test_no_thread_outlives_its_request(kind: str, ended: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = threading.Event()

    class Slow(Site):
        def do_GET(self) -> None:
            requests.set()
            self.wfile.write(WAITING[kind])
            while True:  # until the other side hangs up
                time.sleep(0.02)
                self.wfile.write(WAITING[kind] if "continue" in kind else b"x")

    def cancelled(*_arguments: Any) -> None:
        assert requests.wait(TIMEOUT)
        raise KeyboardInterrupt

    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    with http_server(type("Watched", (Slow,), {"requests": []})) as address, monkeypatch.context() as patch:
        if ended == "cancelled":
            patch.setattr(threading.Thread, "join", cancelled)
        else:
            patch.setattr(fetching, "DEADLINE", 0.3)
        with pytest.raises(KeyboardInterrupt if ended == "cancelled" else SourceError):
            fetching.fetch(f"{address}/song.wav", tmp_path)
        over = time.monotonic()
        wait_until(lambda: not is_fetching())
        assert time.monotonic() - over < 5  # at once; a busy machine needs some
        patch.undo()


def test_pending_connection_is_closed_at_the_deadline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    monkeypatch.setattr(fetching, "DEADLINE", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        # The queue of connections is full with these, so that another one waits.
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        with pytest.raises(SourceError, match="took more than"):
            fetching.fetch(f"http://127.0.0.1:{full.getsockname()[1]}/", tmp_path)
        over = time.monotonic()
        wait_until(lambda: not is_fetching())
        assert time.monotonic() - over < 5  # at once; a busy machine needs some
        for client in waiting:
            client.close()


def is_fetching() -> bool:
    return any(thread.name == "fetch" for thread in threading.enumerate())


def test_complete_transfer_has_a_deadline(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "DEADLINE", 0.3)
    with pytest.raises(SourceError, match="took more than 0 s"):
        fetching.fetch(f"{site}/drip", tmp_path)
    wait_until(lambda: not is_fetching())


def test_late_response_after_a_cancel_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    requests, cleared = threading.Event(), threading.Event()

    class Late(Site):
        def do_GET(self) -> None:
            requests.set()
            cleared.wait(TIMEOUT)
            super().do_GET()

    def cancelled(*_arguments: Any) -> None:
        assert requests.wait(TIMEOUT)
        raise KeyboardInterrupt

    rmdir = os.rmdir

    def rmdir_late(*arguments: Any, **options: Any) -> None:
        """Called after the folder's files have been removed."""
        cleared.set()
        wait_until(lambda: not is_fetching())
        rmdir(*arguments, **options)

    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with http_server(type("Watched", (Late,), {"requests": []})) as address, monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", cancelled)
        patch.setattr(os, "rmdir", rmdir_late)
        with pytest.raises(KeyboardInterrupt), fetching.local_files({"input_audio": f"{address}/song.wav"}, FIELDS):
            pass
        patch.undo()
    assert cleared.is_set()
    assert list(tmp_path.rglob("*")) == []
