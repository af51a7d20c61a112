"""Decompression of response bodies."""

import gzip
import tracemalloc
from pathlib import Path

import pytest

from musicgen_service.inputs import fetching
from musicgen_service.inputs.fetching import SourceError
from tests.support.website import LOUD


@pytest.mark.parametrize(
    "name", ["gzip", "x-gzip", "members", "padded", "zlib", "raw", "chained", "twice", "none", "stored"]
)
def test_compressed_body_is_decompressed(name: str, site: str, tmp_path: Path) -> None:
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
def test_invalid_compressed_body_is_rejected_with_the_reason(
    name: str, sentence: str, site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_MAX_INPUT_MB", "1")
    with pytest.raises(SourceError, match=sentence):
        fetching.fetch(f"{site}/coded/{name}", tmp_path)


def test_decompression_bomb_is_not_fully_decompressed(
    site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_MAX_INPUT_MB", "1")
    gzip.compress(b"")
    tracemalloc.start()
    with pytest.raises(SourceError, match="larger than 1 MiB"):
        fetching.fetch(f"{site}/coded/bomb", tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 2**20
