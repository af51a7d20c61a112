"""What breaks on the way: a sentence, a traceback in the log, no file left, and the next request is served."""

import ctypes
import errno
import shutil
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from musicgen_service import faults, outputs
from musicgen_service.analysis import stems
from musicgen_service.audio import encoding, ffmpeg, gate, loudness
from musicgen_service.audio.encoding import EncodingError
from musicgen_service.audio.reading import AudioError
from musicgen_service.models import memory
from musicgen_service.models.loading import MusicModel
from musicgen_service.models.store import WeightsError
from musicgen_service.paths import job
from musicgen_service.request import FIELDS, RequestError
from musicgen_service.runner import ServiceRunner
from tests.audio.sounds import RATE, tone
from tests.e2e.harness import PATIENCE, http_server

SHORT = {"prompt": "rock", "model_version": "small", "duration": 1, "seed": 5}


class Predictor(ServiceRunner):
    """The service as Cog sees it, without what Cog declares."""

    def record_metric(self, *_arguments: Any, **_options: Any) -> None:
        """Outside a prediction there is nobody to tell."""


@pytest.fixture(scope="module")
def own_weights(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(weights, tmp_path_factory.mktemp("own") / "weights"))


@pytest.fixture(scope="module")
def predictor(own_weights: Path) -> Iterator[Predictor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICGEN_WEIGHTS", str(own_weights))
        patch.setenv("MUSICGEN_MODELS", "small")
        patch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
        predictor = Predictor()
        predictor.setup()
        yield predictor


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, tone(1.5).T, RATE)
    return path


def run(predictor: Predictor, **inputs: Any) -> list[Path]:
    defaults = {name: field.default for name, field in FIELDS.items()}
    return predictor.clips({"self": predictor} | defaults | SHORT | inputs)


def files_of(predictor: Predictor) -> set[Path]:
    own = predictor.service._outputs._own
    return {file for file in own.rglob("*") if file.is_file()} if own.exists() else set()


def test_an_error_of_our_own_is_explained_without_paths() -> None:
    plain = WeightsError("'medium' could not be loaded ([Errno 2] No such file: '/srv/weights/medium/state.bin').")
    told = faults.explained(plain)
    assert str(told) == "'medium' could not be loaded ([Errno 2] No such file: 'state.bin')."


@pytest.mark.parametrize(
    ("text", "said"),
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
def test_of_a_path_the_name_is_left(text: str, said: str) -> None:
    assert str(faults.explained(WeightsError(text))) == said


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
def test_what_is_no_path_is_left_alone(text: str) -> None:
    assert str(faults.explained(WeightsError(text))) == text


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (KeyError("secret"), "Something went wrong inside the service (KeyError); its log says more."),
        (torch.OutOfMemoryError("CUDA: 1 GiB of /dev/x"), "There was not enough memory: ask for fewer variations"),
        (MemoryError(), "There was not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "There was not enough memory"),
        (OSError(errno.ENOSPC, "No space", "/srv/out"), "The service has no room left to write files"),
        (OSError(errno.EACCES, "Denied", "/srv/out"), "Something went wrong inside the service (PermissionError)"),
        (AudioError("the audio file is damaged."), "the audio file is damaged."),
        (EncodingError("a.wav could not be written: full"), "a.wav could not be written: full"),
        (RequestError(["input_audio must be a URL, not '/etc/passwd'."]), "not '/etc/passwd'."),
    ],
)
def test_every_error_is_one_sentence(error: Exception, sentence: str) -> None:
    told = str(faults.explained(error))
    assert sentence in told and "\n" not in told and "/srv" not in told


STAGES: dict[str, tuple[Any, str]] = {
    "reading": (gate.Decoder, "blocks"),
    "prefill": (MusicModel, "encode"),
    "tokens": (job, "generate_tokens"),
    "codec": (MusicModel, "decode"),
    "level": (loudness, "normalise"),
    "encoding": (encoding, "write"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_an_exception_at_any_stage_is_logged_and_leaves_nothing(
    stage: str, predictor: Predictor, song: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_arguments: Any, **_options: Any) -> Any:
        raise LookupError("the dog ate it")

    before = files_of(predictor)
    with monkeypatch.context() as patch:
        patch.setattr(*STAGES[stage], fail)
        with pytest.raises(faults.ServiceError, match=r"inside the service \(LookupError\)"):
            run(predictor, input_audio=song, continuation=True, duration=2)
    log = capfd.readouterr().err
    assert "Traceback" in log and "the dog ate it" in log
    assert files_of(predictor) == before
    assert run(predictor)


def test_a_second_clip_that_fails_takes_the_first_with_it(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    write = encoding.write

    def fail_later(samples: np.ndarray, rate: int, path: Path, tags: dict[str, str]) -> None:
        if written:
            raise EncodingError(f"{path.name} could not be written: No space left on device")
        write(samples, rate, path, tags)
        written.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(encoding, "write", fail_later)
        with pytest.raises(faults.ServiceError, match="No space left"):
            run(predictor, variations=2)
    assert len(written) == 1 and not written[0].exists()
    assert run(predictor)


def test_an_output_folder_that_cannot_be_written(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    obstacle = tmp_path / "file"
    obstacle.touch()
    with monkeypatch.context() as patch:
        patch.setattr(predictor.service._outputs, "_own", obstacle / "folder")
        with pytest.raises(faults.ServiceError, match="inside the service") as told:
            run(predictor)
    assert str(tmp_path) not in str(told.value)
    assert run(predictor)


def test_a_lost_output_folder_is_made_again(predictor: Predictor) -> None:
    run(predictor)
    shutil.rmtree(predictor.service._outputs._own)
    assert run(predictor)[0].exists()


def test_out_of_memory_frees_the_models_and_the_next_request_is_served(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    before = files_of(predictor)
    predictor.service._separator = "takes memory, too"
    with monkeypatch.context() as patch:
        patch.setattr(MusicModel, "decode", fail)
        with pytest.raises(faults.ServiceError, match="not enough memory: ask for fewer variations"):
            run(predictor)
    assert predictor.service._models.names() == [] and predictor.service._separator is None
    assert files_of(predictor) == before
    assert predictor.healthcheck()
    assert run(predictor)


@pytest.mark.parametrize("error", [None, LookupError(), KeyboardInterrupt()])
def test_what_a_request_worked_on_is_given_back_when_it_ends(
    error: BaseException | None, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = MusicModel.decode
    worked_on: list[weakref.ref[torch.Tensor]] = []
    alive: list[list[bool]] = []

    def watched(model: MusicModel, tokens: torch.Tensor) -> torch.Tensor:
        worked_on.append(weakref.ref(tokens))
        if error is not None:
            raise error
        return decode(model, tokens)

    run(predictor)  # the model is loaded, and nothing is dropped for it
    with monkeypatch.context() as patch, pytest.raises(BaseException) if error else nullcontext():
        patch.setattr(MusicModel, "decode", watched)
        patch.setattr(memory, "_trim", lambda _: alive.append([tokens() is not None for tokens in worked_on]))
        run(predictor)
    assert alive == [[False]]


@pytest.mark.parametrize("damage", ["deleted", "cut", "overwritten"])
def test_a_checkpoint_that_is_damaged_while_running(
    damage: str, predictor: Predictor, own_weights: Path, tmp_path: Path
) -> None:
    folder, saved = own_weights / "stereo-small", tmp_path / "saved"
    shutil.copytree(folder, saved)
    try:
        file = folder / "state_dict.bin"
        match damage:
            case "deleted":
                shutil.rmtree(folder)
            case "cut":
                file.write_bytes(file.read_bytes()[:5000])
            case "overwritten":
                file.write_bytes(bytes(file.stat().st_size))
        predictor.service._models.clear()  # what is in memory goes on to be used
        with pytest.raises((RequestError, faults.ServiceError), match="stereo-small") as told:
            run(predictor, model_version="stereo-small")
        assert "weights fetch stereo-small" in str(told.value) and str(own_weights) not in str(told.value)
        assert run(predictor)
        if damage == "deleted":
            assert run(predictor, model_version="auto")  # takes another
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(saved, folder)
    assert run(predictor, model_version="stereo-small")


class Cancelled(BaseException):
    """As Cog's: not an Exception, raised in the thread of the request at any moment."""


def cancelled_when(reached: threading.Event, work: Callable[[], Any]) -> BaseException | None:
    """Do the work in a thread, cancel it as Cog does once it has got that far; what it ended with."""
    ended: list[BaseException] = []

    def target() -> None:
        try:
            work()
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    assert reached.wait(PATIENCE), ended
    assert thread.ident
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Cancelled))
    thread.join(PATIENCE)
    assert not thread.is_alive()
    return ended[0] if ended else None


CONTINUATION = {"continuation": True, "duration": 2}
# Where the request is when it is cancelled; only the making of tokens lasts long enough to be met in its midst.
CANCELLED_IN: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "reading": (gate.Decoder, "_next", CONTINUATION),
    "the melody": (stems, "melodic", {"model_version": "melody"}),
    "prefill": (MusicModel, "encode", CONTINUATION),
    "tokens": (job, "generate_tokens", {"duration": 60}),
    "the codec": (MusicModel, "decode", {}),
    "the level": (loudness, "normalise", {}),
    "encoding": (encoding, "write", {}),
}


@pytest.mark.parametrize("stage", CANCELLED_IN)
def test_cancelling_at_any_stage_ends_it_and_leaves_nothing(
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
    assert not predictor.service._working.locked()
    assert run(predictor)


def announcing(function: Callable[..., Any], reached: threading.Event, lingering: bool) -> Callable[..., Any]:
    """The same function, which says when it has been called, and may wait to be cancelled."""

    def announced(*arguments: Any, **options: Any) -> Any:
        reached.set()
        while lingering:
            time.sleep(0.001)
        return function(*arguments, **options)

    return announced


def test_cancelling_a_download_ends_it(predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, over = threading.Event(), threading.Event()

    class Silent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            over.wait(PATIENCE)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with http_server(Silent) as address:
        ended = cancelled_when(asked, lambda: run(predictor, input_audio=f"{address}/song.wav", continuation=True))
        assert isinstance(ended, Cancelled)
        assert not list(tmp_path.rglob("*"))
        over.set()


def write_an_hour(folder: Path) -> None:
    encoding.write(np.zeros((1, 3600 * RATE), np.float32), RATE, folder / "a.mp3", dict.fromkeys(TAGS, ""))


TAGS = ("title", "comment", "software")
ENDLESS = ["-re", "-f", "lavfi", "-i", "anullsrc", "-t", "100", "-f", "null", "-"]
PROGRAMS: dict[str, Callable[[Path], object]] = {
    "reading": lambda _: ffmpeg.run(ENDLESS),
    "writing": write_an_hour,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_cancelled_ffmpeg_is_ended(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("seconds", [0, 0.3], ids=["at its start", "while it is waited for"])
def test_an_ffmpeg_that_starts_after_the_cancel_is_ended_too(seconds: float) -> None:
    reached, cancelled = threading.Event(), threading.Event()
    ended: list[int] = []

    def work() -> None:
        time.sleep(seconds)
        reached.set()
        assert cancelled.wait(PATIENCE)
        ended.append(subprocess.run([ffmpeg.path(), *ENDLESS], stdin=-3, stderr=-3).returncode)

    def request() -> None:
        try:
            ffmpeg.interruptible(work)
        finally:
            assert ended == [-9]

    threading.Timer(1, cancelled.set).start()
    assert isinstance(cancelled_when(reached, request), Cancelled)


def test_silence_is_refused_where_sound_is_needed(predictor: Predictor, tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(RATE), RATE)
    with pytest.raises(RequestError, match="input_audio is silent where task 'melody' needs it"):
        run(predictor, input_audio=silence, model_version="melody")
    assert run(predictor, input_audio=silence, task="encode-decode")


def test_the_health_check_makes_tokens_and_sound(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    run(predictor)
    assert predictor.service.is_well()
    made: list[int] = []
    decode = MusicModel.decode

    def counted(model: MusicModel, tokens: torch.Tensor) -> torch.Tensor:
        made.append(tokens.shape[-1])
        return decode(model, tokens)

    monkeypatch.setattr(MusicModel, "decode", counted)
    assert predictor.service.is_well() and made == [2]
    monkeypatch.setattr(MusicModel, "decode", lambda _model, tokens: tokens * torch.nan)
    assert not predictor.service.is_well()


def test_the_health_check_does_not_disturb_a_request(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_arguments: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("musicgen_service.health.probe", never)
    with predictor.service._working:
        assert predictor.service.is_well()


def test_a_success_holds_for_a_while_and_a_failure_does_not(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [False, True]
    monkeypatch.setattr(predictor, "_well_at", float("-inf"))
    monkeypatch.setattr(predictor.service, "is_well", lambda: answers.pop(0))
    assert [predictor.healthcheck() for _ in range(3)] == [False, True, True]
    assert outputs.DELIVERY < outputs.MAX_AGE
