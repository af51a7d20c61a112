"""Files come from where they may, in the amount and time they may, and from nowhere else."""

import base64
import gzip
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from musicgen_service.inputs import addresses, fetching, http
from musicgen_service.inputs.fetching import SourceError
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS
from tests.support.harness import TIMEOUT, http_server, wait_until

LOUD = b"music" * 1000


LOCATIONS = {
    "utf-8": "/sänger.wav?q=ü".encode(),
    "latin-1": "/sänger.wav".encode("latin-1"),
    "space": b"/a song.wav",
    "blanks": b"  /song.wav\t ",
    "relative": b"../a/./song.wav",
    "fragment": b"/song.wav#t=3",
    "encoded": b"/a%20song.wav?x=%2F&y=a+b",
}
"""Where redirects lead, as bytes of the header."""


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


BODIES = {
    "gzip": ("gzip", gzip.compress(LOUD)),
    "x-gzip": ("X-GZip", gzip.compress(LOUD)),
    "members": ("gzip", gzip.compress(LOUD[:999]) + gzip.compress(LOUD[999:])),
    "padded": ("gzip", gzip.compress(LOUD) + bytes(100)),
    "zlib": ("deflate", zlib.compress(LOUD)),
    "raw": ("deflate", raw_deflate(LOUD)),
    "chained": ("gzip, identity", gzip.compress(LOUD)),
    "twice": ("deflate, gzip", gzip.compress(zlib.compress(LOUD))),
    "none": ("identity", LOUD),
    "stored": ("aws-chunked", LOUD),
    "cut": ("gzip", gzip.compress(LOUD)[:-9]),
    "nothing": ("gzip", b""),
    "damaged": ("gzip", b"\x1f\x8b\x08" + bytes(100)),
    "unpacked": ("gzip", LOUD),
    "brotli": ("br", b"x"),
    "nested": ("gzip, gzip, gzip, gzip", b"x"),
    "bomb": ("gzip", gzip.compress(bytes(50 * 2**20))),
    "nested-bomb": ("gzip, gzip", gzip.compress(gzip.compress(bytes(50 * 2**20)) + bytes(50 * 2**20))),
}
"""Codings and what they are said of."""


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
            case ["to", place]:
                self.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: " + LOCATIONS[place] + b"\r\n\r\n")
            case ["coded", name]:
                coding, body = BODIES[name]
                self.send_response(200)
                self.send_header("Content-Encoding", coding)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            case ["cut-chunk"]:
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"100\r\nx")
            case ["mute"]:
                pass
            case ["babble"]:
                self.wfile.write(b"hello\r\n\r\n")
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
    file = fetching.fetch(site + path, tmp_path)
    assert file.read_bytes() == LOUD and file.parent == tmp_path


@pytest.mark.parametrize(
    ("path", "name"),
    [("/a/song.wav", "song.wav"), ("/", "audio"), ("/..%2f..%2fpasswd", "_.._passwd"), (f"/{'x' * 300}.wav", None)],
)
def test_a_file_is_named_safely(site: str, path: str, name: str | None, tmp_path: Path) -> None:
    file = fetching.fetch(site + path, tmp_path)
    assert file.parent == tmp_path and len(file.name) <= 100
    assert name is None or file.name == name


@pytest.mark.parametrize(
    ("address", "content"),
    [
        ("data:audio/wav;base64," + base64.b64encode(LOUD).decode(), LOUD),
        ("data:;base64,aGFsbG8%3D", b"hallo"),
        ("data:,hi%20there", b"hi there"),
        ("data:,hi there", b"hi there"),
        ("data:text/plain;charset=utf-8,h%C3%A4 h\u00e4", "hä hä".encode()),
        ("data:,100%", b"100%"),
        ("data:,a,b", b"a,b"),
        ("data:,part#fragment", b"part"),
        ("data:;base64,aGFsbG8=#t=3", b"hallo"),
        ("DATA:audio/wav;base64,aGFsbG8=", b"hallo"),
        ("data:audio/wav;BASE64,aGFsbG8=", b"hallo"),
        ("data:audio/wav; base64,aGFsbG8=", b"hallo"),
        ("data:audio/wav;base64 ,aGFsbG8=", b"hallo"),
        ('data:audio/wav;codecs="1";base64,aGFsbG8=', b"hallo"),
        ("data:audio/wav;base64, aGFsbG8=", b"hallo"),
        (" data:audio/wav;base64,aGFsbG8=\n", b"hallo"),
        ("\u00a0\n\t            data:audio/wav;base64,aGFsbG8=\r\n", b"hallo"),
        ("data:audio/wav;base64,\naGFs\nbG8=\n", b"hallo"),
        ("data:audio/wav;base64,aGFs\r\nbG8=\r\n", b"hallo"),
        ("data:audio/wav;base64,aGFs%0D%0AbG8%3D", b"hallo"),
        ("data:audio/wav;base64,aGFs bG8 =", b"hallo"),
        ("data:audio/wav;base64,aGFsbG8", b"hallo"),
        ("data:audio/wav;base64,%61GFsbG8=", b"hallo"),
        ("data:audio/wav;base64,/+8=", b"\xff\xef"),
        ("data:audio/wav;base64,_-8", b"\xff\xef"),
        ("data:audio/wav;base64," + base64.encodebytes(LOUD).decode(), LOUD),
    ],
)
def test_a_data_uri_is_decoded(address: str, content: bytes, tmp_path: Path) -> None:
    assert fetching.fetch(address, tmp_path).read_bytes() == content


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
        fetching.fetch(f"http://{host}:{site.rpartition(':')[2]}/song.wav", tmp_path)
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
        fetching.fetch("http://music.test/", tmp_path)


def test_a_redirect_is_checked_as_its_own_address(
    site: str, asked: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUSICGEN_ALLOW_PRIVATE_URLS")
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    port = site.rpartition(":")[2]
    with pytest.raises(SourceError, match="not on the public internet"):
        fetching.fetch(f"{site}/redirect/http://127.0.0.2:{port}/song.wav", tmp_path)
    assert [path for _, path in asked] == [f"/redirect/http://127.0.0.2:{port}/song.wav"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"])
def test_a_redirect_stays_on_the_web(site: str, target: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="only http and https"):
        fetching.fetch(f"{site}/redirect/{target}", tmp_path)


def test_redirects_come_to_an_end(site: str, asked: list[tuple[str, str]], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="redirected more than 5 times"):
        fetching.fetch(f"{site}/redirect//redirect//redirect//redirect//redirect//redirect//song.wav", tmp_path)
    assert len(asked) == 6


def test_the_connection_goes_to_the_address_that_was_checked(
    site: str, asked: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = named(monkeypatch, **{"music.test": "127.0.0.1"})
    port = site.rpartition(":")[2]
    fetching.fetch(f"http://music.test:{port}/song.wav", tmp_path)
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
        with pytest.raises(SourceError, match="its certificate is not valid"):
            fetching.fetch(f"https://music.test:{port}/song.wav", tmp_path)
        trusted = ssl.create_default_context(cafile=str(certificate))
        monkeypatch.setattr(http, "tls_context", lambda: trusted)
        assert fetching.fetch(f"https://music.test:{port}/song.wav", tmp_path).read_bytes() == LOUD
        with pytest.raises(SourceError, match="its certificate is not valid"):
            fetching.fetch(f"https://other.test:{port}/song.wav", tmp_path)


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
        ("SITE/short", r"^the transfer broke off: 999 bytes of it did not come\.$"),
        ("SITE/cut-chunk", r"^the transfer broke off: it closed the connection\.$"),
        ("SITE/mute", r"^the server could not be reached: it closed the connection\.$"),
        ("SITE/babble", r"^the server could not be reached: its answer is not HTTP\.$"),
        ("http://127.0.0.1:1/", r"^the server could not be reached: it refused the connection\.$"),
        ("http://nowhere.invalid/", "could not be resolved"),
        ("http://me:secret@127.0.0.1/", "must not hold a user name"),
        ("http://[::1/", "malformed"),
        ("http://127.0.0.1:99999/", "malformed"),
        ("http://127.0.0.1/a\r\nX: y", "malformed"),
        ("http://127.0.0.1/a\tb", "malformed"),
        ("http://127.0.0.1\\/a", "malformed"),
        ("http://127.0.0.1 /a", "malformed"),
        ("http://127.0.0.1/\ud800", "malformed"),
        (f"http://{'ä' * 80}.test/", "host name is malformed"),
        ("http:///song.wav", "with a host name"),
        ("data:audio/wav;base64", "no comma"),
        ("data:audio/wav;base64,aGF@bG8=", "not valid base64: '@' at character 4 of its data"),
        ("data:audio/wav;base64,aG\u00e4", "not valid base64: 'ä' at character 3 of its data"),
        ("data:audio/wav;base64,aG%00", r"not valid base64: byte 0 at character 3 of its data"),
        ("data:audio/wav;base64,aGFsbG8%3", "not valid base64: '%' at character 8 of its data"),
        ("data:audio/wav;base64,aGFsbG8=aGFs", "not valid base64: it goes on after the '=' at character 8"),
        ("data:audio/wav;base64,aGFsb", "its 5 characters are one more than whole bytes take"),
        ("data:audio/wav;base64;charset=x,aGFsbG8=", "';base64' elsewhere than just before its comma"),
        ("data:,", "holds no data"),
        ("data:audio/wav;base64,", "holds no data"),
        ("data:audio/wav;base64,==", "holds no data"),
    ],
)
def test_what_fails_is_said_in_a_sentence(site: str, address: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=sentence):
        fetching.fetch(address.replace("SITE", site), tmp_path)


def test_the_size_is_counted_while_it_comes_in(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_MAX_INPUT_MB", "1")
    with pytest.raises(SourceError, match="larger than 1 MiB"):
        fetching.fetch(f"{site}/endless", tmp_path)
    assert all(file.stat().st_size <= 2**20 for file in tmp_path.iterdir())
    large = base64.b64encode(bytes(2**20 + 1)).decode()
    with pytest.raises(SourceError, match="larger than 1 MiB"):
        fetching.fetch(f"data:;base64,{large}", tmp_path)


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("utf-8", "/s%C3%A4nger.wav?q=%C3%BC"),
        ("latin-1", "/s%C3%A4nger.wav"),
        ("space", "/a%20song.wav"),
        ("blanks", "/song.wav"),
        ("relative", "/a/song.wav"),
        ("fragment", "/song.wav"),
        ("encoded", "/a%20song.wav?x=%2F&y=a+b"),
    ],
)
def test_a_redirect_leads_where_a_browser_goes(
    place: str, path: str, site: str, asked: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert fetching.fetch(f"{site}/to/{place}", tmp_path).read_bytes() == LOUD
    assert [asked_for for _, asked_for in asked] == [f"/to/{place}", path]


@pytest.mark.parametrize("around", ["{} ", " {}", "\n{}\r\n", "\u00a0{}\ufeff"])
def test_a_pasted_address_is_fetched(around: str, site: str, tmp_path: Path) -> None:
    address = around.format(f"{site}/a song/sänger.wav#here")
    assert fetching.is_address(address)
    assert fetching.fetch(address, tmp_path).read_bytes() == LOUD


def test_a_host_is_asked_by_its_name_in_ascii(
    site: str, asked: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = named(monkeypatch, **{"xn--mnchen-3ya.test": "127.0.0.1", "xn--strae-oqa.test": "127.0.0.1"})
    port = site.rpartition(":")[2]
    fetching.fetch(f"http://MÜNCHEN.test:{port}/song.wav", tmp_path)
    fetching.fetch(f"http://straße.test:{port}/straße.wav", tmp_path)
    assert {"xn--mnchen-3ya.test", "xn--strae-oqa.test"} <= set(resolved)
    assert asked[0][0] == f"xn--mnchen-3ya.test:{port}"


def test_a_host_in_other_digits_is_checked_as_what_it_is(site: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("MUSICGEN_ALLOW_PRIVATE_URLS")
    with pytest.raises(SourceError, match="not on the public internet"):
        fetching.fetch(f"http://１２７.0.0.1:{site.rpartition(':')[2]}/song.wav", tmp_path)


@pytest.mark.parametrize(
    "name", ["gzip", "x-gzip", "members", "padded", "zlib", "raw", "chained", "twice", "none", "stored"]
)
def test_what_a_server_compressed_is_decompressed(name: str, site: str, tmp_path: Path) -> None:
    assert fetching.fetch(f"{site}/coded/{name}", tmp_path).read_bytes() == LOUD


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cut", r"^the transfer broke off: the gzip data ends early\.$"),
        ("nothing", r"^the transfer broke off: the gzip data ends early\.$"),
        ("damaged", r"^the gzip data that the server sent is damaged\.$"),
        ("unpacked", r"^the gzip data that the server sent is damaged\.$"),
        ("brotli", r"^the server sent it in the encoding 'br'; gzip, x-gzip, deflate are known\.$"),
        ("nested", r"^the server compressed it more than 3 times\.$"),
        ("bomb", r"^the file is larger than 1 MiB\.$"),
        ("nested-bomb", r"^the file is larger than 1 MiB\.$"),
    ],
)
def test_compressed_data_is_refused_for_what_is_wrong_with_it(
    name: str, sentence: str, site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_MAX_INPUT_MB", "1")
    with pytest.raises(SourceError, match=sentence):
        fetching.fetch(f"{site}/coded/{name}", tmp_path)


def test_a_bomb_is_not_unpacked_whole(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_MAX_INPUT_MB", "1")
    gzip.compress(b"")
    tracemalloc.start()
    with pytest.raises(SourceError, match="larger than 1 MiB"):
        fetching.fetch(f"{site}/coded/bomb", tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 2**20


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
    asked = threading.Event()

    class Slow(Site):
        def do_GET(self) -> None:
            asked.set()
            self.wfile.write(WAITING[kind])
            while True:  # until the other side hangs up
                time.sleep(0.02)
                self.wfile.write(WAITING[kind] if "continue" in kind else b"x")

    def cancelled(*_arguments: Any) -> None:
        assert asked.wait(TIMEOUT)
        raise KeyboardInterrupt

    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    with http_server(type("Watched", (Slow,), {"asked": []})) as address, monkeypatch.context() as patch:
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


def test_a_connection_that_is_not_made_yet_is_ended_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


def test_the_whole_transfer_has_a_deadline(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "DEADLINE", 0.3)
    with pytest.raises(SourceError, match="took more than 0 s"):
        fetching.fetch(f"{site}/drip", tmp_path)
    wait_until(lambda: not is_fetching())


def test_what_arrives_while_a_cancelled_request_is_cleared_away_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked, cleared = threading.Event(), threading.Event()

    class Late(Site):
        def do_GET(self) -> None:
            asked.set()
            cleared.wait(TIMEOUT)
            super().do_GET()

    def cancelled(*_arguments: Any) -> None:
        assert asked.wait(TIMEOUT)
        raise KeyboardInterrupt

    rmdir = os.rmdir

    def rmdir_late(*arguments: Any, **options: Any) -> None:
        """The folder's files have been removed by now."""
        cleared.set()
        wait_until(lambda: not is_fetching())
        rmdir(*arguments, **options)

    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with http_server(type("Watched", (Late,), {"asked": []})) as address, monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", cancelled)
        patch.setattr(os, "rmdir", rmdir_late)
        with pytest.raises(KeyboardInterrupt), fetching.local({"input_audio": f"{address}/song.wav"}, FIELDS):
            pass
        patch.undo()
    assert cleared.is_set()
    assert list(tmp_path.rglob("*")) == []


def test_inputs_get_files_for_the_time_of_the_request(site: str) -> None:
    inputs = {"prompt": "data:,rock", "input_audio": f"{site}/song.wav", "duration": 8}
    with fetching.local(inputs, FIELDS) as found:
        file = found["input_audio"]
        assert file.read_bytes() == LOUD
        assert found == inputs | {"input_audio": file}
    assert not file.parent.exists()


def test_inputs_that_cannot_be_had_are_named(site: str) -> None:
    with (
        pytest.raises(RequestError, match=r"^input_audio could not be fetched: the server answered with status 404\.$"),
        fetching.local({"input_audio": f"{site}/missing"}, FIELDS),
    ):
        pass


@pytest.mark.parametrize("value", ["/etc/passwd", "file:///etc/passwd", "ftp://127.0.0.1/x", "", None, 5, Path("x")])
def test_what_is_no_address_is_left_to_the_request(value: Any) -> None:
    with fetching.local({"input_audio": value}, FIELDS) as found:
        assert found == {"input_audio": value}
