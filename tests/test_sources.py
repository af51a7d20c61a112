"""Files come from where they may, in the amount and time they may, and from nowhere else."""

import base64
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from musicgen_service import addresses, sources
from musicgen_service.request import FIELDS, RequestError
from musicgen_service.sources import SourceError
from tests.e2e.harness import PATIENCE, http_server, wait_until

LOUD = b"music" * 1000


class Site(BaseHTTPRequestHandler):
    """A web site with every trick."""

    asked: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.asked.append((self.headers["Host"], self.path))
        match self.path.split("/")[1:]:
            case ["redirect", *rest]:
                self.send_response(302)
                self.send_header("Location", "/".join(rest))
                self.end_headers()
            case ["missing"]:
                self.send_error(404)
            case ["endless"]:
                self.send_response(200)
                self.end_headers()
                while True:
                    self.wfile.write(bytes(65_536))
            case ["drip"]:
                self.send_response(200)
                self.end_headers()
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.02)
            case ["short"]:
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"x")
            case _:
                self.send_response(200)
                self.send_header("Content-Length", str(len(LOUD)))
                self.end_headers()
                self.wfile.write(LOUD)

    def handle(self) -> None:
        # A client that has enough hangs up.
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def asked() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def site(asked: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    with http_server(type("Watched", (Site,), {"asked": asked})) as address:
        yield address


@pytest.mark.parametrize("path", ["/song.wav", "/song.wav?token=1", "/redirect//song.wav", "/a%20b/s%C3%A4nger.wav"])
def test_an_address_is_fetched(site: str, path: str, tmp_path: Path) -> None:
    file = sources.fetch(site + path, tmp_path)
    assert file.read_bytes() == LOUD and file.parent == tmp_path


@pytest.mark.parametrize(
    ("path", "name"),
    [("/a/song.wav", "song.wav"), ("/", "audio"), ("/..%2f..%2fpasswd", "_.._passwd"), (f"/{'x' * 300}.wav", None)],
)
def test_a_file_is_named_safely(site: str, path: str, name: str | None, tmp_path: Path) -> None:
    file = sources.fetch(site + path, tmp_path)
    assert file.parent == tmp_path and len(file.name) <= 100
    assert name is None or file.name == name


@pytest.mark.parametrize(
    ("address", "content"),
    [
        ("data:audio/wav;base64," + base64.b64encode(LOUD).decode(), LOUD),
        ("data:;base64,aGFsbG8%3D", b"hallo"),
        ("data:,hi%20there", b"hi there"),
        ("DATA:audio/wav;base64,aGFsbG8=", b"hallo"),
    ],
)
def test_a_data_uri_is_decoded(address: str, content: bytes, tmp_path: Path) -> None:
    assert sources.fetch(address, tmp_path).read_bytes() == content


PRIVATE = [
    *("127.0.0.1", "127.255.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *("169.254.169.254", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.0.192"),
    *("::1", "::", "fe80::1%eth0", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254"),
    *("64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_behind_our_doors_is_known(address: str) -> None:
    assert not addresses.is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_the_internet_is_public(address: str) -> None:
    assert addresses.is_public(address)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]", "0"],
)
def test_no_spelling_leads_behind_our_doors(
    host: str, asked: list[tuple[str, str]], site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUSICGEN_ALLOW_PRIVATE_URLS")
    with pytest.raises(SourceError, match=r"^its host is not on the public internet\.$"):
        sources.fetch(f"http://{host}:{site.rpartition(':')[2]}/song.wav", tmp_path)
    assert asked == [] and list(tmp_path.iterdir()) == []


def named(monkeypatch: pytest.MonkeyPatch, **hosts: str) -> list[str]:
    """Names for addresses; every resolution of a name is recorded."""
    resolved: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *args: Any, **options: Any) -> Any:
        resolved.append(host)
        return real(hosts.get(host, host), port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return resolved


def test_a_host_with_one_private_address_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: both)
    with pytest.raises(SourceError, match="not on the public internet"):
        sources.fetch("http://music.test/", tmp_path)


def test_a_redirect_is_checked_as_its_own_address(
    site: str, asked: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUSICGEN_ALLOW_PRIVATE_URLS")
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    port = site.rpartition(":")[2]
    with pytest.raises(SourceError, match="not on the public internet"):
        sources.fetch(f"{site}/redirect/http://127.0.0.2:{port}/song.wav", tmp_path)
    assert [path for _, path in asked] == [f"/redirect/http://127.0.0.2:{port}/song.wav"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"])
def test_a_redirect_stays_on_the_web(site: str, target: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="only http and https"):
        sources.fetch(f"{site}/redirect/{target}", tmp_path)


def test_redirects_come_to_an_end(site: str, asked: list[tuple[str, str]], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="redirected more than 5 times"):
        sources.fetch(f"{site}/redirect//redirect//redirect//redirect//redirect//redirect//song.wav", tmp_path)
    assert len(asked) == 6


def test_the_connection_goes_to_the_address_that_was_checked(
    site: str, asked: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = named(monkeypatch, **{"music.test": "127.0.0.1"})
    port = site.rpartition(":")[2]
    sources.fetch(f"http://music.test:{port}/song.wav", tmp_path)
    assert asked == [(f"music.test:{port}", "/song.wav")]
    assert resolved.count("music.test") == 1  # a second answer, which may be another, is never asked for


def test_a_certificate_is_checked_against_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    named(monkeypatch, **{"music.test": "127.0.0.1", "other.test": "127.0.0.1"})
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not here to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=music.test", "-addext", "subjectAltName=DNS:music.test"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files], check=True, stderr=-3)
    with https_server(key, certificate) as port:
        with pytest.raises(SourceError, match=r"could not be reached \(SSLError\)"):
            sources.fetch(f"https://music.test:{port}/song.wav", tmp_path)
        trusted = ssl.create_default_context(cafile=str(certificate))
        monkeypatch.setattr(sources, "tls_context", lambda: trusted)
        assert sources.fetch(f"https://music.test:{port}/song.wav", tmp_path).read_bytes() == LOUD
        with pytest.raises(SourceError, match=r"could not be reached \(SSLError\)"):
            sources.fetch(f"https://other.test:{port}/song.wav", tmp_path)


class https_server:
    """The site with a certificate; gives its port."""

    def __init__(self, key: Path, certificate: Path) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Secure", (Site,), {"asked": []}))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    def __enter__(self) -> int:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return int(self.server.server_port)

    def __exit__(self, *_error: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("SITE/missing", "status 404"),
        ("SITE/short", "broke off"),
        ("http://127.0.0.1:1/", "could not be reached"),
        ("http://nowhere.invalid/", "could not be resolved"),
        ("http://me:secret@127.0.0.1/", "must not hold a user name"),
        ("http://[::1/", "malformed"),
        ("http://127.0.0.1:99999/", "malformed"),
        ("http://127.0.0.1/a\r\nX: y", "malformed"),
        ("http:///song.wav", "with a host name"),
        ("data:audio/wav;base64", "no comma"),
        ("data:audio/wav;base64,@@@", "not valid base64"),
    ],
)
def test_what_fails_is_said_in_a_sentence(site: str, address: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=sentence):
        sources.fetch(address.replace("SITE", site), tmp_path)


def test_the_size_is_counted_while_it_comes_in(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_MAX_INPUT_MB", "1")
    with pytest.raises(SourceError, match="larger than 1 MiB"):
        sources.fetch(f"{site}/endless", tmp_path)
    assert all(file.stat().st_size <= 2**20 for file in tmp_path.iterdir())
    large = base64.b64encode(bytes(2**20 + 1)).decode()
    with pytest.raises(SourceError, match="larger than 1 MiB"):
        sources.fetch(f"data:;base64,{large}", tmp_path)


def fetching() -> bool:
    return any(thread.name == "fetch" for thread in threading.enumerate())


def test_the_whole_transfer_has_a_deadline(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "DEADLINE", 0.3)
    with pytest.raises(SourceError, match="took more than 0 s"):
        sources.fetch(f"{site}/drip", tmp_path)
    wait_until(lambda: not fetching())


def test_what_arrives_while_a_cancelled_request_is_cleared_away_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked, cleared = threading.Event(), threading.Event()

    class Late(Site):
        def do_GET(self) -> None:
            asked.set()
            cleared.wait(PATIENCE)
            super().do_GET()

    def cancelled(*_arguments: Any) -> None:
        assert asked.wait(PATIENCE)
        raise KeyboardInterrupt

    rmdir = os.rmdir

    def rmdir_late(*arguments: Any, **options: Any) -> None:
        """The folder's files have been removed by now."""
        cleared.set()
        wait_until(lambda: not fetching())
        rmdir(*arguments, **options)

    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with http_server(type("Watched", (Late,), {"asked": []})) as address, monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", cancelled)
        patch.setattr(os, "rmdir", rmdir_late)
        with pytest.raises(KeyboardInterrupt), sources.local({"input_audio": f"{address}/song.wav"}, FIELDS):
            pass
        patch.undo()
    assert cleared.is_set()
    assert list(tmp_path.rglob("*")) == []


def test_inputs_get_files_for_the_time_of_the_request(site: str) -> None:
    inputs = {"prompt": "data:,rock", "input_audio": f"{site}/song.wav", "duration": 8}
    with sources.local(inputs, FIELDS) as found:
        file = found["input_audio"]
        assert file.read_bytes() == LOUD
        assert found == inputs | {"input_audio": file}
    assert not file.parent.exists()


def test_inputs_that_cannot_be_had_are_named(site: str) -> None:
    with (
        pytest.raises(RequestError, match=r"^input_audio could not be fetched: the server answered with status 404\.$"),
        sources.local({"input_audio": f"{site}/missing"}, FIELDS),
    ):
        pass


@pytest.mark.parametrize("value", ["/etc/passwd", "file:///etc/passwd", "ftp://127.0.0.1/x", "", None, 5, Path("x")])
def test_what_is_no_address_is_left_to_the_request(value: Any) -> None:
    with sources.local({"input_audio": value}, FIELDS) as found:
        assert found == {"input_audio": value}
