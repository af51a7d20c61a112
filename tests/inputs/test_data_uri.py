"""Data URIs."""

import base64
from pathlib import Path

import pytest

from musicgen_service.inputs import fetching
from tests.support.website import LOUD


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
