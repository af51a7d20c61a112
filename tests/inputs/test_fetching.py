"""Fetching from http(s) addresses and data URIs: limits, errors, redirects and file names."""

import base64
from pathlib import Path
from typing import Any

import pytest

from musicgen_service.inputs import fetching
from musicgen_service.inputs.fetching import SourceError
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS
from tests.support.names import named
from tests.support.website import LOUD


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
def test_fetch_failure_is_reported_in_a_sentence(site: str, address: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=sentence):
        fetching.fetch(address.replace("SITE", site), tmp_path)


def test_size_limit_applies_during_the_transfer(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_redirect_target_is_resolved_as_in_browsers(
    place: str, path: str, site: str, requests: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert fetching.fetch(f"{site}/to/{place}", tmp_path).read_bytes() == LOUD
    assert [asked_for for _, asked_for in requests] == [f"/to/{place}", path]


@pytest.mark.parametrize("around", ["{} ", " {}", "\n{}\r\n", "\u00a0{}\ufeff"])
def test_a_pasted_address_is_fetched(around: str, site: str, tmp_path: Path) -> None:
    address = around.format(f"{site}/a song/sänger.wav#here")
    assert fetching.is_address(address)
    assert fetching.fetch(address, tmp_path).read_bytes() == LOUD


def test_host_name_is_sent_in_ascii(
    site: str, requests: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = named(monkeypatch, **{"xn--mnchen-3ya.test": "127.0.0.1", "xn--strae-oqa.test": "127.0.0.1"})
    port = site.rpartition(":")[2]
    fetching.fetch(f"http://MÜNCHEN.test:{port}/song.wav", tmp_path)
    fetching.fetch(f"http://straße.test:{port}/straße.wav", tmp_path)
    assert {"xn--mnchen-3ya.test", "xn--strae-oqa.test"} <= set(resolved)
    assert requests[0][0] == f"xn--mnchen-3ya.test:{port}"


def test_fetched_files_exist_during_the_request(site: str) -> None:
    inputs = {"prompt": "data:,rock", "input_audio": f"{site}/song.wav", "duration": 8}
    with fetching.local_files(inputs, FIELDS) as found:
        file = found["input_audio"]
        assert file.read_bytes() == LOUD
        assert found == inputs | {"input_audio": file}
    assert not file.parent.exists()


def test_unfetchable_input_is_named(site: str) -> None:
    with (
        pytest.raises(RequestError, match=r"^input_audio could not be fetched: the server answered with status 404\.$"),
        fetching.local_files({"input_audio": f"{site}/missing"}, FIELDS),
    ):
        pass


@pytest.mark.parametrize("value", ["/etc/passwd", "file:///etc/passwd", "ftp://127.0.0.1/x", "", None, 5, Path("x")])
def test_non_address_is_left_to_validation(value: Any) -> None:
    with fetching.local_files({"input_audio": value}, FIELDS) as found:
        assert found == {"input_audio": value}
