"""The service's own addresses as inputs."""

from pathlib import Path

import pytest

from musicgen_service.inputs import fetching, served_files
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS

TOKEN = "0123456789abcdef" * 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "files"
    (folder / TOKEN).mkdir(parents=True)
    (folder / TOKEN / "riff.wav").write_bytes(b"RIFF")
    (tmp_path / "secret.wav").write_bytes(b"secret")
    monkeypatch.setenv("MUSICGEN_SERVED_FILES", str(folder))
    return folder


@pytest.mark.parametrize(
    "address",
    [
        f"http://localhost:5000/files/{TOKEN}/riff.wav",
        f"https://music.test/below/a/path/files/{TOKEN}/riff.wav",
        f" http://127.0.0.1/files/{TOKEN}/riff.wav?x=1#t=3 ",
        f"HTTP://[::1]:5000/files/{TOKEN}/riff.wav",
    ],
)
def test_an_own_file_is_read_where_it_lies(folder: Path, address: str) -> None:
    with fetching.local_files({"input_audio": address}, FIELDS) as inputs:
        assert inputs["input_audio"] == folder / TOKEN / "riff.wav"
    assert (folder / TOKEN / "riff.wav").exists()


@pytest.mark.parametrize(
    "address",
    [
        f"http://127.0.0.1/files/{TOKEN}/missing.wav",
        f"http://127.0.0.1/files/{'f' * 32}/riff.wav",
        f"http://127.0.0.1/files/{TOKEN}/../riff.wav",
        f"http://127.0.0.1/files/{TOKEN}/%2e%2e%2f%2e%2e%2fsecret.wav",
        f"http://127.0.0.1/files/{TOKEN}/../../secret.wav",
        "http://127.0.0.1/files/../secret.wav",
        f"http://127.0.0.1/?/files/{TOKEN}/riff.wav",
        f"http://127.0.0.1/files/{TOKEN}/riff.wav/",
        f"http://127.0.0.1/files/{TOKEN.upper()}/riff.wav",
    ],
)
def test_any_other_address_is_fetched_like_one(folder: Path, address: str) -> None:
    with pytest.raises(RequestError, match="not on the public internet"):
        fetching.local_files({"input_audio": address}, FIELDS).__enter__()


@pytest.mark.parametrize("head", ["/files/", "file:///files/", ""])
def test_a_path_is_no_address(folder: Path, head: str) -> None:
    address = f"{head}{TOKEN}/riff.wav"
    with fetching.local_files({"input_audio": address}, FIELDS) as inputs:
        assert inputs["input_audio"] == address  # which is refused when inputs are checked


def test_without_a_gateway_there_are_no_own_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUSICGEN_SERVED_FILES")
    assert served_files.local_file(f"http://localhost:5000/files/{TOKEN}/riff.wav") is None
