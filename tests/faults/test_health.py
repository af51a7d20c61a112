"""The health check generates music, and does not disturb requests."""

from typing import Any

import pytest
import torch

from musicgen_service import outputs
from musicgen_service.engine.step_loop import StepLoop
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.service import STALLED_AFTER
from tests.faults.predictor import Predictor, run


def test_health_check_generates_and_decodes(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    run(predictor)
    assert predictor.service.is_healthy()
    made: list[int] = []
    decode = MusicGenModel.decode

    def counted(model: MusicGenModel, tokens: torch.Tensor) -> torch.Tensor:
        made.append(tokens.shape[-1])
        return decode(model, tokens)

    monkeypatch.setattr(MusicGenModel, "decode", counted)
    assert predictor.service.is_healthy() and made == [2]
    monkeypatch.setattr(MusicGenModel, "decode", lambda _model, tokens: tokens * torch.nan)
    assert not predictor.service.is_healthy()


def test_the_health_check_of_a_busy_service_is_that_steps_go_on(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_arguments: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("musicgen_service.health.probe", never)
    with predictor.service._work():
        assert predictor.service.is_healthy()
        monkeypatch.setattr(StepLoop, "unresponsive_seconds", STALLED_AFTER + 1)
        assert not predictor.service.is_healthy()


def test_only_successful_health_checks_are_cached(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [False, True]
    monkeypatch.setattr(predictor, "_healthy_at", float("-inf"))
    monkeypatch.setattr(predictor.service, "is_healthy", lambda: answers.pop(0))
    assert [predictor.healthcheck() for _ in range(3)] == [False, True, True]
    assert outputs.DELIVERY_TIME < outputs.MAX_AGE
