"""The checkpoint used for each requested model."""

from typing import Any

import pytest

from compat.dropin import DropIn
from musicgen_service import predictors
from musicgen_service.audio.reading import AudioInput
from musicgen_service.models.store import WeightsError
from tests.compat.requests import problems, resolve

pytestmark = pytest.mark.usefixtures("no_models_chosen")


def models(system: str) -> list[str]:
    runner = predictors.load(system)
    assert isinstance(runner, DropIn)
    has_choice = "model_version" in runner.fields
    return [*(runner.fields["model_version"].choices or ())] if has_choice else [runner.default_model]


def checkpoint_of(model: str) -> str:
    """The checkpoint that plays a system's model."""
    return "melody" if model == "encode-decode" else model.replace("chord", "melody")


def inputs_of(system: str, model: str, song: AudioInput) -> dict[str, Any]:
    """Inputs that ask a system for a model."""
    if system == "musicgen_remixer":
        return {"music_input": song}
    return {"model_version": model} if "model_version" in predictors.load(system).fields else {}


@pytest.mark.parametrize("system", predictors.names())
def test_demo_replaces_every_model_with_a_log_message(
    system: str, song: AudioInput, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSICGEN_MODELS", "demo")
    for model in models(system):
        given = inputs_of(system, model, song)
        if model == "encode-decode":
            given["input_audio"] = song
        assert resolve(system, ["demo"], **given).model_version == "demo"
        log = capsys.readouterr().err
        assert f"this is NOT '{checkpoint_of(model)}'" in log


@pytest.mark.parametrize("system", predictors.names())
def test_missing_model_is_reported_with_its_fetch_command(system: str, song: AudioInput) -> None:
    for model in models(system):
        if model == "encode-decode":
            continue
        [problem] = problems(system, ["small"], **inputs_of(system, model, song))
        assert problem == (
            f"Model '{checkpoint_of(model)}' is not in the weights folder (present: small): "
            f"run `python -m musicgen_service weights fetch {checkpoint_of(model)}`."
        )


@pytest.mark.parametrize("system", predictors.names())
def test_drop_in_does_not_start_without_its_model(system: str) -> None:
    runner = predictors.load(system)
    assert isinstance(runner, DropIn)
    assert runner.default_model in map(checkpoint_of, models(system))
    with pytest.raises(WeightsError, match=f"weights fetch {runner.default_model}`"):
        runner.setup()


@pytest.mark.parametrize("system", ["meta_musicgen", "m3maker", "musicgen_custom"])
def test_only_melody_models_follow_melodies(system: str, song: AudioInput, monkeypatch: pytest.MonkeyPatch) -> None:
    for demo in ("", "demo"):
        monkeypatch.setenv("MUSICGEN_MODELS", demo)
        [problem] = problems(system, model_version="large", input_audio=song)
        assert problem.startswith("Model 'large' takes no melody: use ")
        assert "set continuation to true" in problem and "'small'" not in problem
