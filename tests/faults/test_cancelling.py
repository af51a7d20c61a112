"""A cancelled request ends at any stage and leaves no files; the next one is served."""

import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musicgen_service.analysis import stems
from musicgen_service.audio import encoding, ffmpeg, loudness, opening
from musicgen_service.audio.tags import Tags
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.paths import streaming
from tests.faults.predictor import Predictor, files_of, run
from tests.support.cancelling import Cancelled, cancelled_when
from tests.support.harness import TIMEOUT, http_server
from tests.support.sounds import RATE

CONTINUATION = {"continuation": True, "duration": 2}
# Where the request is when it is cancelled; only the making of tokens lasts long enough to be met in its midst.
CANCELLED_IN: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "reading": (opening.Decoder, "blocks", CONTINUATION),
    "the melody": (stems, "melodic", {"model_version": "melody"}),
    "prefill": (MusicGenModel, "encode", CONTINUATION),
    "tokens": (streaming, "stream_tokens", {"duration": 60}),
    "the codec": (MusicGenModel, "decode", {}),
    "the level": (loudness, "normalise", {}),
    "encoding": (encoding, "write", {}),
}


@pytest.mark.parametrize("stage", CANCELLED_IN)
def test_cancel_at_any_stage_leaves_no_files(
    stage: str, predictor: Predictor, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_of(predictor)
    reached = threading.Event()
    place, name, inputs = CANCELLED_IN[stage]
    if stage in ("reading", "the melody", "prefill"):
        inputs = inputs | {"input_audio": song}
    with monkeypatch.context() as patch:
        patch.setattr(place, name, announcing(getattr(place, name), reached, lingering=stage != "tokens"))
        ended = cancelled_when(reached, lambda: run(predictor, **inputs))
    assert isinstance(ended, Cancelled)
    assert files_of(predictor) == before
    assert not predictor.service._working
    assert not any(entry.is_in_use for entry in predictor.service._models._loaded.values())
    assert run(predictor)


def announcing(function: Callable[..., Any], reached: threading.Event, lingering: bool) -> Callable[..., Any]:
    """Wrap a function so that it signals its call, and optionally waits to be cancelled."""

    def announced(*arguments: Any, **options: Any) -> Any:
        reached.set()
        while lingering:
            time.sleep(0.001)
        return function(*arguments, **options)

    return announced


def test_cancel_ends_a_download(predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requested, over = threading.Event(), threading.Event()

    class Silent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.set()
            over.wait(TIMEOUT)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with http_server(Silent) as address:
        ended = cancelled_when(requested, lambda: run(predictor, input_audio=f"{address}/song.wav", continuation=True))
        assert isinstance(ended, Cancelled)
        assert not list(tmp_path.rglob("*"))
        over.set()


def write_an_hour(folder: Path) -> None:
    encoding.write(np.zeros((1, 3600 * RATE), np.float32), RATE, folder / "a.mp3", Tags("", "", ""))


ENDLESS = ["-re", "-f", "lavfi", "-i", "anullsrc", "-t", "100", "-f", "null", "-"]
PROGRAMS: dict[str, Callable[[Path], object]] = {
    "reading": lambda _: ffmpeg.run(ENDLESS),
    "writing": write_an_hour,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_cancel_ends_ffmpeg(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    reached = threading.Event()

    class Watched(subprocess.Popen):
        def __init__(self, arguments: list[str], **options: Any) -> None:
            super().__init__(arguments, **options)
            if "-version" not in arguments:  # by which the package finds its program
                started.append(self)
                reached.set()

    monkeypatch.setattr(subprocess, "Popen", Watched)
    assert isinstance(cancelled_when(reached, lambda: PROGRAMS[program](tmp_path)), Cancelled)
    assert started[0].returncode == -9
    assert list(tmp_path.iterdir()) == []
