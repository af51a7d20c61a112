"""Translation of each drop-in's inputs to a request."""

from pathlib import Path
from typing import Any

import pytest

import compat
from musicgen_service import predictors
from musicgen_service.audio.reading import AudioInput
from musicgen_service.requests.errors import RequestError
from musicgen_service.serving import schema
from tests.compat.requests import PRESENT, problems, resolve

NEW_SECONDS, TOTAL = ["meta_musicgen", "m3maker"], "musicgen_custom"

pytestmark = pytest.mark.usefixtures("no_models_chosen")


PARTS: list[tuple[dict[str, Any], float]] = [
    ({}, 1.5),
    ({"continuation_end": None}, 1.5),
    ({"continuation_end": -1}, 1.5),
    ({"continuation_end": 1}, 1.0),
    ({"continuation_end": 900}, 1.5),
    ({"continuation_start": 1}, 0.5),
    ({"continuation_start": 1, "continuation_end": -1}, 0.5),
]


@pytest.mark.parametrize(("times", "seconds"), PARTS)
@pytest.mark.parametrize("system", NEW_SECONDS)
def test_duration_counts_from_the_end_of_the_prompt(
    system: str, times: dict[str, Any], seconds: float, song: AudioInput
) -> None:
    request = resolve(system, input_audio=song, continuation=True, duration=7, **times)
    assert (request.task, request.duration) == ("continuation", 7 + seconds)


@pytest.mark.parametrize("system", NEW_SECONDS)
def test_duration_is_the_total_without_a_continuation(system: str, song: AudioInput) -> None:
    assert resolve(system, duration=7).duration == resolve(system, input_audio=song, duration=7).duration == 7


@pytest.mark.parametrize("system", [*NEW_SECONDS, TOTAL])
def test_part_of_a_melody_can_be_used(system: str, song: AudioInput) -> None:
    request = resolve(system, input_audio=song, model_version="melody", continuation_start=1, duration=2)
    assert (request.task, request.continuation_start, request.duration) == ("melody", 1, 2)


def test_duration_of_musicgen_custom_is_the_total(song: AudioInput) -> None:
    assert resolve(TOTAL, input_audio=song, continuation=True, duration=7).duration == 7


def test_m3maker_makes_a_minute_of_new_music_after_any_prompt(song: AudioInput) -> None:
    assert resolve("m3maker", duration=60).duration == 60
    assert resolve("m3maker", input_audio=song, continuation=True, duration=60).duration == 61.5
    assert problems("m3maker", duration=61) == ["duration must be a whole number up to 60, not 61."]


def test_meta_musicgen_can_exceed_the_window_with_its_prompt(song: AudioInput) -> None:
    assert resolve("meta_musicgen", input_audio=song, continuation=True, duration=30).duration == 31.5


@pytest.mark.parametrize("system", NEW_SECONDS)
def test_encode_decode_uses_the_complete_audio(system: str, song: AudioInput) -> None:
    request = resolve(
        system,
        model_version="encode-decode",
        input_audio=song,
        continuation=True,
        continuation_start=1,
        continuation_end=1,
        output_format="mp3",
        normalization_strategy="peak",
    )
    assert (request.task, request.model_version, request.continuation_start) == ("encode-decode", "melody", 0)
    assert (request.continuation_end, request.output_format, request.normalization_strategy) == (None, "mp3", "peak")
    assert "Task 'encode-decode' needs input_audio." in problems(system, model_version="encode-decode")


def test_encode_decode_uses_large_without_melody(song: AudioInput, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("musicgen_service.models.store.WeightStore.present", lambda _: ["large"])
    request = resolve("meta_musicgen", model_version="encode-decode", input_audio=song)
    assert request.model_version == "large"


@pytest.mark.parametrize("system", predictors.names())
def test_open_seed_is_random(system: str, song: AudioInput) -> None:
    given = {"music_input": song} if system == "musicgen_remixer" else {}
    for seed in ({}, {"seed": None}, {"seed": 0}, {"seed": -1}):
        first, second = (resolve(system, **given, **seed).seed for _ in range(2))
        assert first != second and min(first, second) > 0
    assert resolve(system, **given, seed=5).seed == 5


def test_a_loop_is_at_most_max_duration_long() -> None:
    request = resolve("musicgen_looper", max_duration=5, bpm=87.5)
    assert (request.task, request.duration, request.bpm, request.variations) == ("loop", 5, 87.5, 4)
    assert request.model_version == "medium"


def test_a_loop_has_the_tempo_that_its_prompt_names() -> None:
    assert resolve("musicgen_looper", prompt="house").bpm == 140
    assert resolve("musicgen_looper", prompt="house, 100 bpm").bpm == 100
    assert resolve("musicgen_looper", prompt="house, 100 bpm", bpm=100).bpm == 100
    assert "leave one of them out" in problems("musicgen_looper", prompt="house, 100 bpm", bpm=120)[0]


@pytest.mark.parametrize(
    ("prompt", "bpm", "description"),
    [
        ("high bpm 90s rave", 140, "high bpm 90s rave, 140 bpm"),
        ("low bpm 808 trap", 140, "low bpm 808 trap, 140 bpm"),
        ("128-bpm techno", 128, "128-bpm techno"),
        ("tempo 124", 124, "tempo 124"),
        ("120 beats/min", 120, "120 beats/min"),
        ("BPM of 124", 124, "BPM of 124"),
        ("techno, 124,5 bpm", 124.5, "techno, 124,5 bpm"),
        ("120-130 bpm house", 125, "120-130 bpm house, 125 bpm"),
        ("130-150 bpm trap", 140, "130-150 bpm trap, 140 bpm"),
    ],
)
def test_looper_uses_the_tempo_of_the_prompt(prompt: str, bpm: float, description: str) -> None:
    request = resolve("musicgen_looper", prompt=prompt)
    assert (request.bpm, request.description) == (bpm, description)


def test_looper_rejects_two_tempi() -> None:
    prompt = "120 BPM drum & bass at 87.5bpm"
    assert problems("musicgen_looper", prompt=prompt) == [
        "The prompt says 120 bpm and 87.5 bpm, and a loop has one tempo: say which with bpm."
    ]
    assert resolve("musicgen_looper", prompt=prompt, bpm=120).bpm == 120


def test_remix_uses_music_input(song: AudioInput) -> None:
    request = resolve("musicgen_remixer", music_input=song, chroma_coefficient=2, beat_sync_threshold=1.1)
    assert (request.task, request.model_version, request.input_audio) == ("remix", "melody", song)
    assert (request.chroma_coefficient, request.beat_sync_threshold) == (2, 1.1)


CHORDS = ["musicgen_chord", "musicgen_stereo_chord"]


@pytest.mark.parametrize("system", CHORDS)
def test_chords_come_from_a_text_a_recording_or_nowhere(system: str, song: AudioInput) -> None:
    assert resolve(system).task == "text"
    request = resolve(system, text_chords="C:min7,G:7 F", bpm=120, time_sig="3/4", chroma_coefficient=2.5)
    assert (request.task, request.bpm, request.time_signature) == ("chords", 120, "3/4")
    assert request.chroma_coefficient == 2.5
    assert request.description == "rock, 3/4, 120 bpm"
    request = resolve(system, audio_chords=song, audio_start=1, audio_end=2)
    assert (request.task, request.audio_chords, request.input_audio) == ("chords", song, None)
    assert (request.continuation_start, request.continuation_end) == (1, 2)


@pytest.mark.parametrize("system", CHORDS)
def test_a_recording_is_continued_on_chords_or_on_none(system: str, song: AudioInput) -> None:
    request = resolve(system, audio_chords=song, continuation=True, audio_start=1)
    assert (request.task, request.input_audio, request.audio_chords) == ("continuation", song, None)
    assert (request.continuation_start, request.duration) == (1, 8)
    assert resolve(system, audio_chords=song, continuation=True, text_chords="C", bpm=120).progression


def test_each_chord_model_is_played_by_a_melody_checkpoint() -> None:
    assert resolve("musicgen_chord").model_version == "melody"
    assert resolve("musicgen_stereo_chord").model_version == "stereo-melody-large"
    played = {model: model.replace("chord", "melody") for model in ("chord", "chord-large", "stereo-chord")}
    assert {model: resolve("musicgen_stereo_chord", model_version=model).model_version for model in played} == played


def test_errors_use_the_clients_input_names(song: AudioInput) -> None:
    assert problems("musicgen_remixer") == ["Task 'remix' needs music_input."]
    assert problems("musicgen_chord", continuation=True) == ["Task 'continuation' needs audio_chords."]
    assert problems("musicgen_chord", audio_chords=song, audio_start=1, audio_end=1) == [
        "audio_start (1 s) must be before audio_end (1 s)."
    ]
    [problem] = problems("musicgen_chord", text_chords="C", bpm=120, time_sig="waltz")
    assert problem.startswith("time_sig must be 1 to 16 over ")
    assert problems("musicgen_looper", max_duration=40) == ["max_duration must be a whole number from 2 to 20, not 40."]


@pytest.mark.parametrize(
    ("weights", "adapter", "model"),
    [
        (None, None, "stereo-melody"),
        (" ", None, "stereo-melody"),
        ("mine", "mine", "small"),
        ("https://music.test/v1/trainings/a1/mine.zip", "mine", "small"),
        ("https://weights.test/a%2Fmine.tar.gz?token=x/y", "mine", "small"),
    ],
)
def test_trained_weights_are_an_adapter_of_that_name(weights: str | None, adapter: str | None, model: str) -> None:
    runner = predictors.load("musicgen_fine_tuner")
    request = runner.resolve({"prompt": "rock", "replicate_weights": weights}, PRESENT, {"mine": "small"})
    assert (request.adapter, request.model_version) == (adapter, model)


def test_errors_about_trained_weights_name_their_input() -> None:
    [problem] = problems("musicgen_fine_tuner", replicate_weights="a+a")
    assert problem == "replicate_weights names 'a' twice: name it once."
    with pytest.raises(RequestError, match=r"^There is no adapter 'mine': present are none\.$"):
        predictors.load("musicgen_fine_tuner").resolve({"prompt": "rock", "replicate_weights": "mine"}, PRESENT, {})


@pytest.mark.parametrize("system", predictors.names())
def test_published_bounds_apply_without_a_schema_file(system: str) -> None:
    properties = schema.build(predictors.predictor(system))["components"]["schemas"]["Input"]["properties"]
    for name, entry in properties.items():
        for bound, beyond in (("minimum", -1), ("maximum", 1)):
            if bound in entry:
                [problem] = problems(system, **{name: entry[bound] + beyond})
                assert problem.startswith(f"{name} must be a")
        if "allOf" in entry:
            [problem] = problems(system, **{name: "nothing"})
            assert problem.startswith(f"{name} must be one of ")


@pytest.mark.parametrize("system", predictors.names())
def test_defaults_are_those_published(system: str) -> None:
    properties = schema.build(predictors.predictor(system))["components"]["schemas"]["Input"]["properties"]
    fields = predictors.load(system).fields
    assert {name: field.default for name, field in fields.items()} == {
        name: entry.get("default") for name, entry in properties.items()
    }


def test_whole_numbers_may_come_as_floats() -> None:
    assert resolve("meta_musicgen", duration=8.0, top_k=100.0).top_k == 100


def test_new_drop_in_is_one_module_and_one_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path("compat/m3maker.py").read_text().replace("le=60", "le=90")
    (tmp_path / "compat" / "sixth").mkdir(parents=True)
    (tmp_path / "compat" / "sixth" / "cog.yaml").touch()
    (tmp_path / "compat" / "sixth.py").write_text(source)
    monkeypatch.setattr(predictors, "PROJECT", tmp_path)
    monkeypatch.setattr(compat, "__path__", [*compat.__path__, str(tmp_path / "compat")])
    assert predictors.names() == ["sixth"]
    assert resolve("sixth", duration=90).duration == 90
    duration = schema.build(predictors.predictor("sixth"))["components"]["schemas"]["Input"]["properties"]["duration"]
    assert duration["maximum"] == 90
