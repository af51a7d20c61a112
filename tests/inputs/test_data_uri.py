"""Data URIs."""

import base64
import tracemalloc
from pathlib import Path

import pytest

from musicgen_service.inputs import data_uri, fetching
from musicgen_service.inputs.data_uri import DataUriError
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


@pytest.mark.parametrize("shift", range(4))
def test_escapes_are_decoded_wherever_a_piece_ends(shift: int) -> None:
    text = "x" * shift + "%41" * 50_000 + "%4" + "%"
    assert data_uri.decode(f"data:,{text}") == b"x" * shift + b"A" * 50_000 + b"%4%"


@pytest.mark.parametrize(
    "address",
    ["data:," + "%41" * 700_000, "data:;base64," + "%41" * 699_999 + "A", "data:" + ";base64" * 300_000 + ","],
)
def test_memory_is_proportional_to_the_size(address: str) -> None:
    tracemalloc.start()
    try:
        data_uri.decode(address)
    except DataUriError as error:
        assert str(error) == "the data URI has no comma before its data among its first 1,024 characters."
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 5 * len(address)
