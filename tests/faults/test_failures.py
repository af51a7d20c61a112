"""Failures during a request: a traceback in the log, no files left, and the next request is served."""

import gc
import shutil
import weakref
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from musicgen_service import client_errors
from musicgen_service.audio import encoding, loudness, opening
from musicgen_service.audio.encoding import EncodingError
from musicgen_service.audio.tags import Tags
from musicgen_service.models import memory
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.paths import streaming
from musicgen_service.requests.errors import RequestError
from tests.faults.predictor import Predictor, files_of, run
from tests.support.harness import wait_until
from tests.support.sounds import RATE
from tests.test_folders import disk

STAGES: dict[str, tuple[Any, str]] = {
    "reading": (opening.Decoder, "blocks"),
    "prefill": (MusicGenModel, "encode"),
    "tokens": (streaming, "stream_tokens"),
    "codec": (MusicGenModel, "decode"),
    "level": (loudness, "normalise"),
    "encoding": (encoding, "write"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_exception_at_any_stage_is_logged_and_leaves_no_files(
    stage: str, predictor: Predictor, song: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_arguments: Any, **_options: Any) -> Any:
        raise LookupError("the dog ate it")

    before = files_of(predictor)
    with monkeypatch.context() as patch:
        patch.setattr(*STAGES[stage], fail)
        with pytest.raises(
            client_errors.ServiceError, match=r"^Something went wrong inside the service; its log says more\.$"
        ):
            run(predictor, input_audio=song, continuation=True, duration=2)
    log = capfd.readouterr().err
    assert "Traceback" in log and "the dog ate it" in log
    assert files_of(predictor) == before
    assert run(predictor)


def test_failed_second_clip_removes_the_first(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    write = encoding.write

    def fail_later(samples: np.ndarray, rate: int, path: Path, tags: Tags, bit_depth: int = 16) -> None:
        if written:
            raise EncodingError(f"{path.name} could not be written: No space left on device")
        write(samples, rate, path, tags, bit_depth)
        written.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(encoding, "write", fail_later)
        with pytest.raises(client_errors.ServiceError, match="No space left"):
            run(predictor, variations=2)
    assert len(written) == 1 and not written[0].exists()
    assert run(predictor)


def test_unwritable_output_folder(predictor: Predictor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    obstacle = tmp_path / "file"
    obstacle.touch()
    with monkeypatch.context() as patch:
        patch.setattr(predictor.service._outputs, "_own", None)
        patch.setattr("tempfile.tempdir", str(obstacle))
        with pytest.raises(client_errors.ServiceError, match=r"^The service may not write to its temporary folder\.$"):
            run(predictor)
    assert run(predictor)


def test_missing_temporary_folder(predictor: Predictor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sentence = r"^The service's temporary folder is gone: try again when it is back\.$"
    with monkeypatch.context() as patch:
        patch.setattr(predictor.service._outputs, "_own", None)
        patch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
        for inputs in ({}, {"input_audio": "data:audio/wav;base64,UklGRg==", "continuation": True}):
            with pytest.raises(client_errors.ServiceError, match=sentence):
                run(predictor, **inputs)
        (tmp_path / "temp").mkdir()
        assert run(predictor)[0].is_relative_to(tmp_path)


@pytest.mark.parametrize("output_format", ["wav", "mp3"])
@pytest.mark.parametrize(
    ("options", "sentence"), [("size=400k", "has no room left"), ("size=1m,nr_inodes=14", "disk has no inodes left")]
)
def test_full_disk(
    predictor: Predictor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    options: str,
    sentence: str,
    output_format: str,
) -> None:
    with disk(tmp_path / "disk", options) as temp, monkeypatch.context() as patch:
        patch.setattr(predictor.service._outputs, "_own", None)
        patch.setattr("tempfile.tempdir", str(temp))
        obstacles = [temp / str(number) for number in range(10)]
        for obstacle in obstacles if "inodes" in options else ():
            obstacle.touch()
        with pytest.raises(client_errors.ServiceError, match=f"^The service('s)? {sentence}") as raised:
            run(predictor, duration=30, output_format=output_format)
        assert str(raised.value).endswith(": try again later.")
        # Its traceback holds on to pydub's temporary file, which takes up room as long as it is open.
        del raised
        gc.collect()
        assert files_of(predictor) == set()
        for obstacle in obstacles:
            obstacle.unlink(missing_ok=True)
        assert run(predictor, output_format=output_format)
        patch.setattr(predictor.service._outputs, "_own", None)


def test_deleted_output_folder_is_created_again(predictor: Predictor) -> None:
    run(predictor)
    own = predictor.service._outputs._own
    assert own is not None
    shutil.rmtree(own.path)
    assert run(predictor)[0].exists()


def test_service_recovers_from_out_of_memory(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    before = files_of(predictor)
    with predictor.service._models.lease_part("separator", 1000, lambda: "takes memory, too"):
        pass
    with monkeypatch.context() as patch:
        patch.setattr(MusicGenModel, "decode", fail)
        with pytest.raises(client_errors.ServiceError, match="not enough memory: ask for fewer variations"):
            run(predictor)
    assert predictor.service._models.names() == []
    assert files_of(predictor) == before
    assert predictor.healthcheck()
    assert run(predictor)


@pytest.mark.parametrize("error", [None, LookupError(), KeyboardInterrupt()])
def test_request_memory_is_released_when_it_ends(
    error: BaseException | None, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = MusicGenModel.decode
    worked_on: list[weakref.ref[torch.Tensor]] = []
    alive: list[list[bool]] = []

    def watched(model: MusicGenModel, tokens: torch.Tensor) -> torch.Tensor:
        worked_on.append(weakref.ref(tokens))
        if error is not None:
            # The loop that made them lets go of them a moment later.
            wait_until(lambda: model.generator.loop.buffers is None)  # type: ignore[attr-defined]
            raise error
        return decode(model, tokens)

    run(predictor)  # the model is loaded, and nothing is dropped for it
    with monkeypatch.context() as patch, pytest.raises(BaseException) if error else nullcontext():
        patch.setattr(MusicGenModel, "decode", watched)
        patch.setattr(memory, "_trim", lambda _: alive.append([tokens() is not None for tokens in worked_on]))
        run(predictor)
    assert alive == [[False]]


@pytest.mark.parametrize("damage", ["deleted", "cut", "overwritten"])
def test_checkpoint_damaged_while_running(damage: str, predictor: Predictor, own_weights: Path, tmp_path: Path) -> None:
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
        with pytest.raises((RequestError, client_errors.ServiceError), match="stereo-small") as raised:
            run(predictor, model_version="stereo-small")
        assert "weights fetch stereo-small" in str(raised.value) and str(own_weights) not in str(raised.value)
        assert run(predictor)
        if damage == "deleted":
            assert run(predictor, model_version="auto")  # takes another
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(saved, folder)
    assert run(predictor, model_version="stereo-small")


def test_silent_input_is_rejected(predictor: Predictor, tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(RATE), RATE)
    with pytest.raises(RequestError, match="input_audio is silent where task 'melody' needs it"):
        run(predictor, input_audio=silence, model_version="melody")
    assert run(predictor, input_audio=silence, task="encode-decode")
