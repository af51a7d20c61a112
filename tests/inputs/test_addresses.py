"""Private addresses are rejected in every notation."""

import shutil
import socket
import ssl
import subprocess
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from musicgen_service.inputs import addresses, fetching, http
from musicgen_service.inputs.fetching import SourceError
from tests.support.names import named
from tests.support.website import LOUD, Site

PRIVATE = [
    *("127.0.0.1", "127.255.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *("169.254.169.254", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.0.192", "168.63.129.16"),
    *("::1", "::", "fe80::1%eth0", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254"),
    *("64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_not_public(address: str) -> None:
    assert not addresses.is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_the_internet_is_public(address: str) -> None:
    assert addresses.is_public(address)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]", "0"],
)
def test_no_spelling_of_loopback_is_fetched(
    host: str, requests: list[tuple[str, str]], site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUSICGEN_ALLOW_PRIVATE_URLS")
    with pytest.raises(SourceError, match=r"^its host is not on the public internet\.$"):
        fetching.fetch(f"http://{host}:{site.rpartition(':')[2]}/song.wav", tmp_path)
    assert requests == [] and list(tmp_path.iterdir()) == []


def test_a_host_with_one_private_address_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: both)
    with pytest.raises(SourceError, match="not on the public internet"):
        fetching.fetch("http://music.test/", tmp_path)


def test_a_redirect_is_checked_as_its_own_address(
    site: str, requests: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUSICGEN_ALLOW_PRIVATE_URLS")
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    port = site.rpartition(":")[2]
    with pytest.raises(SourceError, match="not on the public internet"):
        fetching.fetch(f"{site}/redirect/http://127.0.0.2:{port}/song.wav", tmp_path)
    assert [path for _, path in requests] == [f"/redirect/http://127.0.0.2:{port}/song.wav"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"])
def test_a_redirect_stays_on_the_web(site: str, target: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="only http and https"):
        fetching.fetch(f"{site}/redirect/{target}", tmp_path)


def test_redirects_come_to_an_end(site: str, requests: list[tuple[str, str]], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="redirected more than 5 times"):
        fetching.fetch(f"{site}/redirect//redirect//redirect//redirect//redirect//redirect//song.wav", tmp_path)
    assert len(requests) == 6


def test_the_connection_goes_to_the_address_that_was_checked(
    site: str, requests: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = named(monkeypatch, **{"music.test": "127.0.0.1"})
    port = site.rpartition(":")[2]
    fetching.fetch(f"http://music.test:{port}/song.wav", tmp_path)
    assert requests == [(f"music.test:{port}", "/song.wav")]
    assert resolved.count("music.test") == 1  # a second answer, which may be another, is never requests for


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
    """The site over TLS; yields its port."""

    def __init__(self, key: Path, certificate: Path) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Secure", (Site,), {"requests": []}))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    def __enter__(self) -> int:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return int(self.server.server_port)

    def __exit__(self, *_error: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_host_in_fullwidth_digits_is_normalised_before_the_check(site: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("MUSICGEN_ALLOW_PRIVATE_URLS")
    with pytest.raises(SourceError, match="not on the public internet"):
        fetching.fetch(f"http://１２７.0.0.1:{site.rpartition(':')[2]}/song.wav", tmp_path)
