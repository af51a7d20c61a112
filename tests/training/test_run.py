"""Trainings from songs to adapters."""

import csv
import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from peft import PeftModel

from musicgen_service.models import loading, manifest, separators
from musicgen_service.models.adapters import CARD_FILE, AdapterStore
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.training import base, layout, network, run
from musicgen_service.training.errors import TrainingError
from musicgen_service.training.listening import Song
from musicgen_service.training.options import Options
from musicgen_service.training.pieces import Piece
from musicgen_service.training.run import Songs
from tests.support import adapters as random_adapters
from tests.support.harness import PROJECT, wait_until

REAL = PROJECT / "tests" / "data" / "real"
CPU = torch.device("cpu")
Quick = Callable[..., Options]


OnReport = Callable[[str, int], None]


def train(
    songs: Songs,
    options: Options,
    store: WeightStore,
    on_report: OnReport = lambda *_: None,
    *,
    restart: bool = False,
    replace: bool = False,
) -> Path:
    def report(stage: str, done: int, _total: int, _more: str) -> None:
        on_report(stage, done)

    return run.train(songs, options, store, CPU, report, restart=restart, replace=replace)


def understood(path: Path, options: Options, store: WeightStore) -> Songs:
    """The songs of a folder, which stay where they are."""
    with run.understood([path], options, store, lambda *_: None) as songs:
        return songs


@pytest.fixture(scope="module")
def songs(songs_folder: Path) -> Songs:
    """The songs as they are understood."""
    heard = [
        Song(path.name, path, manifest.sha256(path), 7.0, f"{path.stem}, 120 bpm", (Piece(0.0, 7.0, (0.0, 2.0)),))
        for path in sorted(songs_folder.glob("*.wav"))
    ]
    return Songs(heard, [])


def test_a_training_leaves_an_adapter_with_its_card(songs: Songs, training_store: WeightStore, quick: Quick) -> None:
    folder = train(songs, quick("small", trigger="in style"), training_store)
    adapter = AdapterStore.of(training_store).get("style")
    assert (adapter.base, adapter.rank, adapter.alpha) == ("small", 4, 8)
    card = (folder / CARD_FILE).read_text()
    assert "facebook/musicgen-small" in card and "CC-BY-NC 4.0" in card
    assert "in style, song 0, 120 bpm" in card
    with (folder / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == [str(step) for step in range(7)]
    assert [row["step"] for row in rows if row["held_out_loss"]] == ["0", "2", "4", "6"]
    assert (folder / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert {file.name for file in (folder / "samples").iterdir()} >= {"step00006-1.wav", "step00006-2.wav"}
    assert not layout.work_folder(training_store, "style").exists()


def test_peft_loads_the_adapter_onto_the_same_model(songs: Songs, training_store: WeightStore, quick: Quick) -> None:
    folder = train(songs, quick("small"), training_store)
    model = PeftModel.from_pretrained(base.load(training_store, "small", CPU).network(), str(folder))
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA" and config["base_model_name_or_path"] == "facebook/musicgen-small"
    loaded = network.weights_of(model)
    assert loaded and any(float(tensor.abs().max()) > 0 for name, tensor in loaded.items() if "lora_B" in name)
    assert all("decoder.model.decoder.layers." in name for name in loaded)


class Stop(Exception):
    """Ends a training, as a signal would."""


@pytest.mark.slow
def test_a_stopped_training_ends_in_the_same_adapter(songs: Songs, training_store: WeightStore, quick: Quick) -> None:
    store = AdapterStore.of(training_store)
    train(songs, quick("small", trigger="in style"), training_store)
    expected = store.get("style").sha256
    store.remove("style")
    for last in (1, 3, 4):

        def stop(stage: str, done: int, last: int = last) -> None:
            if stage == "training" and done == last:
                raise Stop

        with pytest.raises(Stop):
            train(songs, quick("small", trigger="in style"), training_store, stop)
        assert store.names() == []
    train(songs, quick("small", trigger="in style"), training_store)
    assert store.get("style").sha256 == expected


def stop_in_training(stage: str, _done: int) -> None:
    if stage == "training":
        raise Stop


def test_an_unfinished_training_goes_on_with_the_same_songs_and_options_only(
    songs: Songs, training_store: WeightStore, quick: Quick
) -> None:
    with pytest.raises(Stop):
        train(songs, quick("small"), training_store, stop_in_training)
    with pytest.raises(TrainingError, match="unfinished training of 'style' has other songs or options"):
        train(songs, quick("small", seed=2), training_store)
    train(songs, quick("small", seed=2), training_store, restart=True)
    assert "| 0.001, 2 |" in (AdapterStore.of(training_store).get("style").folder / CARD_FILE).read_text()


def test_a_training_that_goes_on_is_not_restarted(songs: Songs, training_store: WeightStore, quick: Quick) -> None:
    work = layout.work_folder(training_store, "style")

    def second(stage: str, _done: int) -> None:
        if stage == "training":
            with pytest.raises(TrainingError, match="'style' is being trained already"):
                train(songs, quick("small"), training_store, restart=True)
            assert (work / "checkpoint.pt").is_file()
            raise Stop

    with pytest.raises(Stop):
        train(songs, quick("small"), training_store, second)


@pytest.mark.slow
def test_a_folder_that_was_removed_in_part_is_not_gone_on_with(
    songs: Songs, training_store: WeightStore, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rmtree(_: Path, *, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise Stop

    work = layout.work_folder(training_store, "style")
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(shutil, "rmtree", rmtree)
        train(songs, quick("small"), training_store)
    assert not work.exists()
    # As versions before left it.
    (work / "cache").mkdir(parents=True)
    (work / "checkpoint.pt").write_bytes(b"of another training")
    train(songs, quick("small", seed=2), training_store, replace=True)
    assert {path.name for path in work.parent.iterdir()} == {".style.lock"}


def test_an_adapter_that_came_meanwhile_is_not_replaced(
    songs: Songs, training_store: WeightStore, quick: Quick
) -> None:
    store = AdapterStore.of(training_store)
    random_adapters.add(training_store, "style", random_adapters.random_lora(training_store, "small"))
    before = store.get("style").sha256
    with pytest.raises(WeightsError, match="There is an adapter 'style' already"):
        train(songs, quick("small"), training_store)
    assert store.get("style").sha256 == before
    train(songs, quick("small"), training_store, replace=True)
    assert store.get("style").sha256 != before


def test_a_training_that_learns_nothing_is_told(
    songs: Songs, training_store: WeightStore, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda _: None)
    with pytest.raises(TrainingError, match="'style' has learned nothing"):
        train(songs, quick("small"), training_store)
    assert AdapterStore.of(training_store).names() == []


@pytest.mark.slow
def test_what_the_base_makes_leaves_no_model_behind(
    songs: Songs, training_store: WeightStore, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[weakref.ref[Any], Any]] = []
    load = loading.load_adapted

    def load_adapted(*arguments: Any) -> Any:
        model = load(*arguments)
        made.append((weakref.ref(model.generator), arguments[-1]))
        return model

    monkeypatch.setattr(loading, "load_adapted", load_adapted)
    train(songs, quick("small", trigger="in style"), training_store)
    [(_, for_the_base), *for_samples] = made
    assert for_the_base is None and [slots.reserve(1, 32) for _, slots in for_samples] == [1, 1, 1, 1]
    wait_until(lambda: all(reference() is None for reference, _ in made))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("checkpoint", "more"), [("stereo-small", {"gain": 3.0, "pitch": 1}), ("stereo-melody", {"checkpointing": True})]
)
def test_every_kind_of_base_is_trained(
    checkpoint: str, more: dict[str, Any], songs: Songs, training_store: WeightStore, quick: Quick
) -> None:
    train(Songs(songs.songs[:1], []), quick(checkpoint, trigger="in style", steps=2, **more), training_store)
    assert AdapterStore.of(training_store).get("style").base == checkpoint


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", ["small", "stereo-melody"])
def test_loss_falls_where_there_is_one_song(
    checkpoint: str, songs: Songs, training_store: WeightStore, quick: Quick
) -> None:
    options = quick(checkpoint, steps=12, every=6, rate=2e-2, batch=1, crop=3.0)
    folder = train(Songs(songs.songs[:1], []), options, training_store)
    with (folder / "losses.csv").open() as file:
        losses = [float(row["held_out_loss"]) for row in csv.DictReader(file) if row["held_out_loss"]]
    assert losses[-1] < 0.9 * losses[0]


def test_a_training_ends_where_the_held_out_loss_stops_falling(
    songs: Songs, training_store: WeightStore, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, steps = torch.optim.AdamW.step, list[int]()

    def first_steps(optimiser: torch.optim.AdamW) -> None:
        steps.append(len(steps) + 1)
        if len(steps) <= 2:
            step(optimiser)

    monkeypatch.setattr(torch.optim.AdamW, "step", first_steps)
    options = quick("small", steps=40, every=2, patience=2, batch=1, crop=3.0)
    folder = train(Songs(songs.songs[:1], []), options, training_store)
    assert len(steps) == 6
    assert "| steps | 2 of 6, the best on held-out songs;" in (folder / CARD_FILE).read_text()


def test_a_missing_separator_is_told_before_songs_are_heard(
    songs_folder: Path, training_store: WeightStore, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(separators, "choose", lambda _: None)
    monkeypatch.setattr(run, "Listener", None)
    with pytest.raises(TrainingError, match="Vocals are taken out with 'spleeter', which is not installed"):
        understood(songs_folder, quick("small", drop_vocals=True), training_store)


def test_songs_are_understood(songs_folder: Path, training_store: WeightStore, quick: Quick) -> None:
    songs = understood(songs_folder, quick("small", caption="a band"), training_store)
    assert [song.problem for song in songs.songs] == [None] * 3
    assert [song.caption.split(",")[0] for song in songs.songs] == ["a fast rock song with guitar", "a band", "a band"]
    assert "120 bpm" in songs.songs[0].caption
    assert songs.songs[0].pieces[0].bars[:3] == pytest.approx([0.0, 2.0, 4.0], abs=0.06)
    assert songs.seconds == pytest.approx(21.0, abs=0.5)


def test_no_caption_keeps_the_trigger(songs_folder: Path, training_store: WeightStore, quick: Quick) -> None:
    songs = understood(songs_folder, quick("small", trigger="a fast"), training_store)
    assert songs.songs[0].caption.startswith("rock song with guitar, 120 bpm")


def test_speech_is_told(training_store: WeightStore, tmp_path: Path, quick: Quick) -> None:
    (folder := tmp_path / "spoken").mkdir()
    for name in ("speech_ashiel.ogg", "speech_austen.ogg", "speech_perceval.ogg", "fishin.ogg"):
        shutil.copy(REAL / name, folder)
    songs = understood(folder, quick("small"), training_store)
    told = "no key either: it may be speech or noise"
    assert {song.name: told in song.notes for song in songs.songs} == {
        **{"fishin.ogg": False, "speech_ashiel.ogg": True, "speech_austen.ogg": True, "speech_perceval.ogg": True}
    }


def test_copies_are_told_in_whatever_format(
    songs_folder: Path, training_store: WeightStore, tmp_path: Path, quick: Quick
) -> None:
    (folder := tmp_path / "copies").mkdir()
    shutil.copytree(songs_folder, folder, dirs_exist_ok=True)
    sound, rate = soundfile.read(folder / "song 1.wav")
    soundfile.write(folder / "a copy.flac", 0.5 * sound, rate, subtype="PCM_24")
    soundfile.write(folder / "more.wav", soxr.resample(sound, rate, 44_100), 44_100, subtype="FLOAT")
    (folder / "more.txt").write_text("the one with a text")
    songs = understood(folder, quick("small"), training_store)
    assert {song.name: song.problem for song in songs.songs} == {
        "a copy.flac": "it sounds the same as more.wav",
        "more.wav": None,
        "song 0.wav": None,
        "song 1.wav": "it sounds the same as more.wav",
        "song 2.wav": None,
    }


def test_what_cannot_be_used_is_told_song_by_song(training_store: WeightStore, tmp_path: Path, quick: Quick) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    soundfile.write(folder / "silence.wav", np.zeros(32_000 * 8), 32_000)
    soundfile.write(folder / "short.wav", 0.1 * np.random.default_rng(0).standard_normal(32_000 * 3), 32_000)
    noise = 0.1 * np.random.default_rng(0).standard_normal(32_000 * 8)
    soundfile.write(folder / "noise.wav", noise, 32_000)
    (folder / "noise.txt").write_text("hiss")
    (folder / "a copy.wav").write_bytes((folder / "noise.wav").read_bytes())
    (folder / "damaged.mp3").write_bytes(b"no sound")
    options = quick("small")
    songs = understood(folder, options, training_store)
    problems = {song.name: song.problem for song in songs.songs}
    [noisy] = songs.used
    assert problems == {
        "a copy.wav": "it is the same as noise.wav",
        "damaged.mp3": problems["damaged.mp3"],
        "noise.wav": None,
        "short.wav": "it is shorter than 5 s",
        "silence.wav": "it is silent",
    }
    assert (problems["damaged.mp3"] or "").startswith("it cannot be read: ")
    assert noisy.notes[0] == "no beat was heard, so it is not cut on bars"
    (folder / "noise.wav").unlink()
    (folder / "a copy.wav").unlink()
    with pytest.raises(TrainingError, match="None of the songs can be used"):
        train(understood(folder, options, training_store), options, training_store)
