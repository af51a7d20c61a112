"""Error messages for users: one sentence, without paths."""

import errno

import pytest
import torch

from musicgen_service import client_errors
from musicgen_service.audio.encoding import EncodingError
from musicgen_service.audio.reading import AudioError
from musicgen_service.models.store import WeightsError
from musicgen_service.requests.errors import RequestError


def test_service_errors_contain_no_paths() -> None:
    plain = WeightsError("'medium' could not be loaded ([Errno 2] No such file: '/srv/weights/medium/state.bin').")
    client_error = client_errors.to_client_error(plain)
    assert str(client_error) == "'medium' could not be loaded ([Errno 2] No such file: 'state.bin')."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cannot read /secret", "cannot read secret"),
        ("(/secret): denied", "(secret): denied"),
        ("'/srv/my weights/small/state.bin' is gone", "'state.bin' is gone"),
        ("cannot read /srv/my weights/a small one/state.bin", "cannot read state.bin"),
        ('"/srv/a b/my song.wav"', '"my song.wav"'),
        ("cannot read file:///srv/a%20b/song.wav", "cannot read song.wav"),
        ("cannot read file://host/srv/song.wav and file:/song.wav", "cannot read song.wav and song.wav"),
        ("not found:/srv/song.wav", "not found:song.wav"),
        ("path=/srv/.cache/x", "path=x"),
        ("/srv/a.wav is neither wav/mp3 nor 4/4", "a.wav is neither wav/mp3 nor 4/4"),
    ],
)
def test_path_is_reduced_to_its_name(text: str, expected: str) -> None:
    assert str(client_errors.to_client_error(WeightsError(text))) == expected


@pytest.mark.parametrize(
    "text",
    [
        "and/or",
        "4/4 or 3/4, 1/2",
        "use wav/mp3",
        "10 kB/s",
        "n/a",
        "a / b",
        "+/-1",
        "</html>",
        "https://hub.test/a/b/c",
    ],
)
def test_text_without_paths_is_unchanged(text: str) -> None:
    assert str(client_errors.to_client_error(WeightsError(text))) == text


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (KeyError("secret"), "Something went wrong inside the service; its log says more."),
        (torch.OutOfMemoryError("CUDA: 1 GiB of /dev/x"), "There was not enough memory: ask for fewer variations"),
        (MemoryError(), "There was not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "There was not enough memory"),
        (OSError(errno.ENOSPC, "No space", "/srv/out"), "The service has no room left to write files"),
        (OSError(errno.EACCES, "Denied", "/srv/out"), "Something went wrong inside the service;"),
        (AudioError("the audio file is damaged."), "the audio file is damaged."),
        (EncodingError("a.wav could not be written: full"), "a.wav could not be written: full"),
        (RequestError(["input_audio must be a URL, not '/etc/passwd'."]), "not '/etc/passwd'."),
    ],
)
def test_every_error_is_one_sentence(error: Exception, sentence: str) -> None:
    client_error = str(client_errors.to_client_error(error))
    assert sentence in client_error and "\n" not in client_error and "/srv" not in client_error
