"""A fetch ends with its request in every state, and leaves no files."""

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from musicgen_service.inputs import fetching, http
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
    "a chunk without end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=",
    "trailers without end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
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


@pytest.mark.parametrize("ended", ["cancelled", "late"])
def test_a_handshake_that_drips_ends_with_its_request(
    ended: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    greeted = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.recv(1)
        greeted.set()
        with suppress(OSError):
            connection.sendall(b"\x16\x03\x03\x40\x00")  # the head of a record of 16 KiB
            while True:
                connection.sendall(b"\0")
                time.sleep(0.02)

    def cancelled(*_arguments: Any) -> None:
        assert greeted.wait(TIMEOUT)
        raise KeyboardInterrupt

    with socket.create_server(("127.0.0.1", 0)) as listener, monkeypatch.context() as patch:
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        if ended == "cancelled":
            patch.setattr(threading.Thread, "join", cancelled)
        else:
            patch.setattr(fetching, "DEADLINE", 0.3)
        with pytest.raises(KeyboardInterrupt if ended == "cancelled" else SourceError):
            fetching.fetch(f"https://127.0.0.1:{listener.getsockname()[1]}/", tmp_path)
        wait_until(lambda: not is_fetching())


def test_a_slow_name_server_keeps_no_fetch_and_few_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def slow(*_arguments: Any, **_options: Any) -> Any:
        answered.wait(TIMEOUT)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr(http, "_LOOKUPS", threading.BoundedSemaphore(2))
    with monkeypatch.context() as patch:
        patch.setattr(fetching, "DEADLINE", 0.1)
        for _ in range(2):
            with pytest.raises(SourceError, match="took more than"):
                fetching.fetch("http://slow.test/", tmp_path)
    with pytest.raises(SourceError, match="too many host names are being looked up"):
        fetching.fetch("http://slow.test/", tmp_path)
    wait_until(lambda: not is_fetching())
    lookups = [thread for thread in threading.enumerate() if thread.name == "lookup"]
    assert len(lookups) == 2
    answered.set()
    for thread in lookups:
        thread.join(TIMEOUT)
    with pytest.raises(SourceError, match="could not be resolved"):
        fetching.fetch("http://slow.test/", tmp_path)


FLOODS = {
    "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "small chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_lines_is_cut_off(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, again = FLOODS[kind]

    class Flood(Site):
        def do_GET(self) -> None:
            self.wfile.write(first)
            while True:  # until the other side hangs up
                self.wfile.write(again * 1000)

    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    monkeypatch.setattr(http, "_MAX_LINES", 5000)
    with (
        http_server(type("Watched", (Flood,), {"requests": []})) as address,
        pytest.raises(SourceError, match="its answer is not HTTP"),
    ):
        fetching.fetch(f"{address}/song.wav", tmp_path)


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
