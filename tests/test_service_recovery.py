"""The service after a request that failed, was cancelled or rejected."""

from pathlib import Path

import pytest
import torch

from musicgen_service.models.store import WeightsError
from musicgen_service.paths import job
from musicgen_service.requests.errors import RequestError
from musicgen_service.service import MusicGenService
from tests.support.serviced import made


def _outputs(service: MusicGenService) -> Path:
    own = service._outputs._own
    assert own is not None
    return own.path


class Cancelled(BaseException):
    """Like Cog's cancellation: not an Exception, raised at any point."""


@pytest.mark.parametrize("when", [0.0, 0.5, 1.0])
def test_service_works_after_a_cancel_and_no_file_remains(
    service: MusicGenService, when: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = made(service, prompt="rock")[0].read_bytes()
    before = list(_outputs(service).rglob("*.wav"))

    def cancel(_progress: object, share: float) -> None:
        if share >= when:
            raise Cancelled

    with monkeypatch.context() as patch:
        patch.setattr("musicgen_service.progress.Progress.report", cancel)
        with pytest.raises(Cancelled):
            made(service, prompt="rock")
    assert not [file for file in _outputs(service).rglob("*.wav") if file not in before]
    assert made(service, prompt="rock")[0].read_bytes() == expected


def test_service_frees_models_and_recovers_from_out_of_memory(
    service: MusicGenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_job: job.Job, _tokens: torch.Tensor, _seed: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(job.Job, "decode_tokens", fail)
        with pytest.raises(torch.OutOfMemoryError):
            made(service, prompt="rock")
    assert service._models.names() == []
    assert made(service, prompt="rock")


def test_rejected_request_keeps_earlier_files(service: MusicGenService) -> None:
    [file] = made(service, prompt="rock")
    with pytest.raises(RequestError):
        made(service, prompt="rock", top_k=-1)
    assert file.exists()


def test_empty_weights_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="There is no checkpoint in"):
        MusicGenService().setup()
