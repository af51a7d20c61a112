"""Requests of a batch: their seeds, their names, and what is wrong with them."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import soundfile

from musicgen_service import predictors
from musicgen_service.batch import items
from musicgen_service.batch.items import Item, Preparation
from musicgen_service.batch.lists import read
from musicgen_service.cli import batch
from musicgen_service.requests.fields import FIELDS
from tests.support import stand_in_adapters
from tests.support.batches import write_list
from tests.support.harness import PROJECT
from tests.support.sounds import RATE, tone

PRESENT = ("stereo-small", "melody")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    soundfile.write("riff.wav", tone(0.5)[0], RATE)


def prepared(
    *lines: dict[str, Any],
    present: tuple[str, ...] | None = PRESENT,
    system: str | None = None,
    adapters: dict[str, Any] | None = None,
    version: str = "1.0",
    **settings: Any,
) -> tuple[list[Item], list[str]]:
    write_list(*lines)
    predictor = predictors.load(system)
    entries, problems = read(Path("list.jsonl"), FIELDS)
    assert problems == []
    return Preparation(predictor, present, version, adapters).items(entries, settings)


def items_of(*lines: dict[str, Any], **options: Any) -> list[Item]:
    found, problems = prepared(*lines, **options)
    assert problems == []
    return found


ROCK, JAZZ = {"prompt": "rock"}, {"prompt": "jazz"}


def test_seeds_and_names_do_not_depend_on_the_order() -> None:
    forwards, backwards = items_of(ROCK, JAZZ), items_of(JAZZ, ROCK)
    assert {item.name: item.inputs for item in forwards} == {item.name: item.inputs for item in backwards}
    assert forwards[0].inputs["seed"] != forwards[1].inputs["seed"]


def test_equal_lines_are_takes_of_their_own() -> None:
    first, second = items_of(ROCK, ROCK)
    assert first.inputs["seed"] != second.inputs["seed"] and first.name != second.name


def test_a_given_seed_is_used_and_a_random_one_is_derived() -> None:
    given, *derived = items_of({"prompt": "a", "seed": 7}, *({"prompt": "a", "seed": seed} for seed in (0, -1)))
    assert given.inputs["seed"] == 7
    assert all(item.inputs["seed"] > 0 for item in derived)
    assert items_of(ROCK, seed=5)[0].inputs["seed"] == 5


def test_a_name_is_the_id_and_a_digest() -> None:
    own, from_prompt, from_task = items_of(
        {"id": "take.1", **ROCK}, {"prompt": "Rock & roll: LOUD!"}, {"input_audio": "riff.wav"}
    )
    assert own.name.startswith("take.1-") and from_prompt.name.startswith("rock-roll-loud-")
    assert from_task.name.startswith("melody-")
    assert all(len(item.name.rpartition("-")[2]) == 12 for item in (own, from_prompt, from_task))


@pytest.mark.parametrize("file", ["input_audio", "audio_chords"])
def test_the_digest_is_of_all_that_determines_a_clip(file: str) -> None:
    asked = {"prompt": "a", "seed": 1, file: "riff.wav"}

    def name(**settings: Any) -> str:
        return items_of(asked, **settings)[0].name

    before = name()
    assert name(duration=8) == before  # its default
    others = {name(duration=7), name(seed=2), name(prompt="b"), name(output_format="mp3")}
    soundfile.write("riff.wav", tone(0.6)[0], RATE)
    others.add(name())
    soundfile.write("riff.wav", tone(0.5)[0], RATE)
    assert name() == before
    Path("moved.wav").write_bytes(Path("riff.wav").read_bytes())
    assert name(**{file: Path("moved.wav").absolute()}) == before
    others.add(name(version="1.1"))
    assert len(others) == 6 and before not in others


def test_settings_are_those_of_every_line() -> None:
    first, second = items_of({"prompt": "a", "duration": 3}, {"prompt": "b"}, duration=2)
    assert first.inputs["duration"] == second.inputs["duration"] == 2


def test_the_model_is_resolved_where_it_is_known() -> None:
    assert [item.model for item in items_of(ROCK, {"input_audio": "riff.wav"})] == ["melody", "melody"]
    assert [item.model for item in items_of(ROCK, present=None)] == ["auto"]
    assert [item.model for item in items_of({**ROCK, "model_version": "large"}, present=None)] == ["large"]


def test_the_work_is_the_audio_that_is_made() -> None:
    text, remix = items_of(
        {"prompt": "a", "duration": 3, "variations": 2}, {"input_audio": "riff.wav", "task": "encode-decode"}
    )
    assert (text.seconds, remix.seconds) == (6, 0.5)


@pytest.mark.parametrize(
    ("system", "more"),
    [
        (None, {"continuation": True, "continuation_start": 5}),
        (None, {"continuation": True, "continuation_end": 20}),
        (None, {"continuation": True, "sections": "a 4 s: rock", "duration": 9}),
        (None, {"task": "repaint", "continuation_start": 4, "continuation_end": 8, "output_format": "mp3"}),
        (None, {"task": "repaint", "continuation_start": 4}),
        (None, {"task": "encode-decode", "continuation_start": 800}),
        ("musicgen_chord", {"audio_start": 5, "audio_end": 9}),
        ("meta_musicgen", {"continuation": True, "continuation_start": 2, "continuation_end": 3}),
    ],
)
def test_an_address_is_not_fetched_and_may_have_any_length(system: str | None, more: dict[str, Any]) -> None:
    name = "audio_chords" if system == "musicgen_chord" else "input_audio"
    asked = ROCK | {name: "http://127.0.0.1:9/a.wav"} | more
    [item] = items_of(asked, system=system, present=None)
    assert item.inputs[name] == asked[name] and item.seconds >= 0


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"promt": "a"}, "There is no input 'promt' (did you mean 'prompt'?)."),
        ({"prompt": "a", "seed": False}, "seed must be a whole number"),
        ({"prompt": "a", "duration": 0}, "duration must be a number from 1 to 600, not 0."),
        ({"prompt": "a", "input_audio": 5}, "input_audio must be an http(s) URL or a data URI, not 5."),
        ({"input_audio": "list.jsonl"}, "input_audio cannot be used: "),
        ({"input_audio": "data:audio/wav;base64,AAAA"}, "input_audio cannot be used: "),
        ({"input_audio": "riff.wav", "continuation_start": 2}, "continuation_start (2 s) is beyond the end"),
        ({"input_audio": "https://a.example/a", "continuation_end": 1, "continuation_start": 2}, "continuation_start"),
        ({"prompt": "a", "model_version": "large"}, "Model 'large' is not in the weights folder"),
        ({"prompt": "120 bpm", "bpm": 90}, "The prompt says 120 bpm but bpm is 90"),
    ],
)  # fmt: skip
def test_problems_are_those_of_a_request(line: dict[str, Any], problem: str) -> None:
    found, problems = prepared(ROCK, line)
    assert len(found) == 1 and problems[0].startswith(f"line 2: {problem}"), problems


def test_an_id_is_given_once() -> None:
    _, problems = prepared({"id": "a", **ROCK}, {"id": "a", **JAZZ, "top_k": -1})
    assert problems[0] == "line 2: The id 'a' is that of line 1 already." and problems[1].startswith("line 2: top_k")


def test_the_same_request_with_the_same_seed_is_a_problem() -> None:
    _, problems = prepared(ROCK, JAZZ, ROCK, seed=5)
    assert problems == [
        "line 3: This asks for the same as line 1 with the same seed: leave one of them out, or the seed."
    ]


def test_shards_are_disjoint_and_complete() -> None:
    found = items_of(*({"prompt": str(number)} for number in range(10)))
    parts = [items.shard_of(found, number, 3) for number in (1, 2, 3)]
    assert [len(part) for part in parts] == [4, 3, 3]
    assert sorted(item.line for part in parts for item in part) == list(range(1, 11))


def test_each_model_is_used_in_one_go() -> None:
    models = ["melody", "stereo-small", "melody"]
    found = items_of(*({"prompt": "rock", "model_version": model} for model in models))
    assert [item.model for item in items.by_model(found)] == ["melody", "melody", "stereo-small"]


def test_a_drop_in_has_its_own_inputs() -> None:
    [item] = items_of({"prompt": "rock", "max_duration": 4}, system="musicgen_looper", present=("medium",))
    assert (item.model, item.seconds, item.inputs["max_duration"]) == ("medium", 16, 4)


def test_a_replaced_adapter_gives_another_name() -> None:
    def named(adapter: str, **summary: str) -> str:
        adapters = {name: {"name": name, "base": "melody", **summary} for name in ("style", "other")}
        [item] = items_of(ROCK | {"adapter": adapter, "seed": 7}, adapters=adapters)
        return item.name

    first = named("style:0.5", sha256="1" * 64)
    assert named(" style:.5 ", sha256="1" * 64) == first
    others = {named("style:0.5", sha256="2" * 64), named("style", sha256="1" * 64), named("other", sha256="1" * 64)}
    assert len(others | {first}) == 4
    [plain] = items_of(ROCK)
    assert items_of(ROCK, adapters={"style": {"base": "melody", "sha256": "1"}}) == [plain]


def test_an_adapter_that_is_not_there_is_a_problem() -> None:
    line = ROCK | {"adapter": "styl"}
    _, problems = prepared(line, adapters={"style": {"base": "melody"}})
    assert problems == ["line 1: There is no adapter 'styl' (did you mean 'style'?): present are style."]
    assert prepared(line, present=None)[1] == []  # which only the server knows


def test_adapters_are_those_of_the_weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "demo").symlink_to(PROJECT / "weights" / "demo")
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(weights))
    write_list(ROCK)
    options = argparse.Namespace(set=["adapter=style"], fields=FIELDS, server=None, system=None)
    names = set()
    for content in (b"first", b"first", b"second"):
        stand_in_adapters.add(weights, "style", content=content)
        [item] = batch._items(options, Path("list.jsonl"))
        assert item.model == "demo"
        names.add(item.name)
    assert len(names) == 2
