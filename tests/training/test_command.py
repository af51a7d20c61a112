"""The command `train`: songs from several places, and what it says to programs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from musicgen_service import cli
from musicgen_service.models.adapters import AdapterStore
from musicgen_service.models.store import WeightStore
from musicgen_service.training import run
from tests.support.harness import file_server

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def weights_folder(training_store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> WeightStore:
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(training_store.root))
    return training_store


def lines(capsys: Capture) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_training_says_what_happens_as_json(songs_folder: Path, training_store: WeightStore, capsys: Capture) -> None:
    options = "--name style --base small --steps 2 --every 1 --crop 5 --rank 4 --json".split()
    cli.main(["train", str(songs_folder / "song 0.wav"), str(songs_folder / "song 1.wav"), "--trigger=mine", *options])
    events = lines(capsys)
    stages = [(event["stage"], event["done"], event["total"]) for event in events if "stage" in event]
    assert stages[:2] == [("listening", 1, 2), ("listening", 2, 2)] and stages[-2:] == [
        ("training", 1, 2),
        ("training", 2, 2),
    ]
    lefts = [event["seconds_left"] for event in events if event.get("stage") == "training"]
    assert lefts == [None, 0.0]
    [songs] = [event for event in events if "songs" in event]
    assert [song["name"] for song in songs["songs"]] == ["song 0.wav", "song 1.wav"]
    assert songs["songs"][0] | {"caption": ""} == {
        **{"name": "song 0.wav", "seconds": 7.0, "pieces": 1, "caption": "", "notes": [], "problem": None}
    }
    adapter = AdapterStore.of(training_store).get("style")
    assert events[-1] == {"adapter": {**adapter.summary, "trigger": "mine"}}


def test_memory_that_runs_out_is_told(songs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run, "train", train)
    with pytest.raises(SystemExit, match="There was not enough memory: train with --checkpointing"):
        cli.main(["train", str(songs_folder / "song 0.wav"), "--name", "a", "--base", "small"])


def test_songs_come_from_several_places(songs_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    shutil.copy(songs_folder / "song 0.wav", tmp_path / "other.wav")
    (tmp_path / "song 1.txt").write_text("waltz in C major, 3/4, 90 bpm")
    words = [str(songs_folder / "song 1.wav"), str(tmp_path / "song 1.txt"), str(tmp_path / "other.wav")]
    cli.main(["train", *words, "--name", "a", "--base", "small", "--as-written", "--dry-run", "--json"])
    *_, songs = lines(capsys)
    captions = [(song["name"], song["caption"]) for song in songs["songs"]]
    assert captions == [("other.wav", "other"), ("song 1.wav", "waltz in C major, 3/4, 90 bpm")]
    with pytest.raises(SystemExit, match="Two of the files are called"):
        cli.main(["train", words[0], words[0], "--name", "a", "--base", "small", "--dry-run"])


def test_songs_are_fetched(songs_folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with file_server(songs_folder) as address:
        song = f"{address}/song%201.wav"
        command = ["train", song, "--name", "a", "--base", "small", "--dry-run"]
        with pytest.raises(SystemExit, match="could not be fetched"):
            cli.main(command)
        monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
        cli.main(command)
    assert "1 song, 1 piece, 0.1 minutes; 0 songs left out" in capsys.readouterr().out


def test_an_archive_that_is_fetched_has_a_limit_of_its_own(
    songs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.make_archive(str(tmp_path / "songs"), "tar", songs_folder)
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    monkeypatch.setenv("MUSICGEN_MAX_INPUT_MB", "1")
    with file_server(tmp_path) as address:
        command = ["train", f"{address}/songs.tar", "--name", "a", "--base", "small", "--dry-run"]
        cli.main(command)
        monkeypatch.setenv("MUSICGEN_MAX_SONGS_MB", "1")
        with pytest.raises(SystemExit, match=r"could not be fetched: the file is larger than 1 MiB\."):
            cli.main(command)
