"""Beat This! instead of our own beat tracker, with its authors' loading code and file format."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from musicgen_service import cli
from musicgen_service.analysis import beats
from musicgen_service.analysis.beats import BeatTracker
from musicgen_service.analysis.detected_beats import DetectedBeats
from musicgen_service.models import beat_tracking
from musicgen_service.models.catalogue import BEAT_TRACKER
from musicgen_service.models.store import WeightStore
from musicgen_service.notes import collected
from tests.support import beat_trackers
from tests.support.recordings import recording
from tests.support.sounds import RATE

SECONDS = 14.0
BEATS = np.arange(0.31, SECONDS - 0.2, 60 / 93)


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> BeatTracker:
    weights = tmp_path_factory.mktemp("weights")
    beat_trackers.save_listening(weights)
    return beat_tracking.choose(WeightStore(weights))


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing may be fetched")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


def own() -> BeatTracker:
    return beat_tracking.choose(WeightStore(Path("nothing")))


def assert_equal(one: beats.BeatGrid, other: beats.BeatGrid) -> None:
    assert np.array_equal(one.beats, other.beats) and np.array_equal(one.downbeats, other.downbeats)
    assert (one.tempo, one.confidence) == (other.tempo, other.confidence)


@pytest.mark.parametrize(("per_bar", "first"), [(4, 0), (4, 2), (3, 1)])
def test_grid_matches_the_networks_beats(listening: BeatTracker, per_bar: int, first: int) -> None:
    audio = beat_trackers.ticks(BEATS, BEATS[first::per_bar], SECONDS)
    grid = listening(np.stack([audio, audio]), RATE, None)
    assert grid.tempo == pytest.approx(93, rel=0.002)
    assert np.abs(grid.beats - BEATS).max() < 0.02
    assert np.abs(grid.downbeats - BEATS[first::per_bar]).max() < 0.02
    assert np.isin(grid.downbeats, grid.beats).all()
    assert grid.beats_per_bar == per_bar and grid.confidence > 0.8


def test_missed_beats_are_filled_in(listening: BeatTracker) -> None:
    detected = np.delete(BEATS, [5, 11, 12])
    audio = beat_trackers.ticks(detected, BEATS[::4], SECONDS)
    audio += np.float32(0.004 * np.abs(audio).max()) * np.sign(np.sin(np.arange(len(audio)))).astype(
        np.float32
    )  # no silence
    grid = listening(audio, RATE, None)
    assert np.abs(grid.beats - BEATS).max() < 0.03
    assert grid.tempo == pytest.approx(93, rel=0.003)


def test_a_silence_is_not_filled_with_beats(listening: BeatTracker) -> None:
    sounding = BEATS[(BEATS < 4) | (BEATS > 8)]
    grid = listening(beat_trackers.ticks(sounding, sounding[::4], SECONDS), RATE, None)
    assert not ((grid.beats > 4.7) & (grid.beats < 7.3)).any() and grid.beats[-1] > 12
    assert np.isin(grid.downbeats, grid.beats).all()


def test_recording_longer_than_the_window_is_tracked_to_its_end(listening: BeatTracker) -> None:
    times = np.arange(0.5, 69.5, 0.5)
    grid = listening(beat_trackers.ticks(times, times[::4], 70.0), RATE, None)
    assert len(grid.beats) == len(times) and np.abs(grid.beats - times).max() < 0.02


@pytest.mark.parametrize("samples", [0, 100, 3 * RATE])
def test_falls_back_to_own_tracker_when_nothing_is_detected(listening: BeatTracker, samples: int) -> None:
    assert_equal(listening(np.zeros((1, samples), np.float32), RATE, None), beats.BeatGrid())
    too_few = beat_trackers.ticks(np.array([0.5, 1.0, 1.5]), np.array([0.5]), 6.0)
    assert_equal(listening(too_few, RATE, 120), own()(too_few, RATE, 120))


def test_checkpoint_of_the_published_size_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from musicgen_service.models import beat_this_adapter as adapter

    network = beat_trackers.random_network()
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(20e6, rel=0.05)
    beat_trackers.save(network, tmp_path)
    used = []
    find = adapter.find_beats

    def spy(network: Any, mono: np.ndarray, rate: int) -> DetectedBeats:
        used.append(network.model.state_dict())
        return find(network, mono, rate)

    monkeypatch.setattr(adapter, "find_beats", spy)
    grid = beat_tracking.choose(WeightStore(tmp_path))(beat_trackers.ticks(BEATS, BEATS[::4], SECONDS), RATE, None)
    [loaded] = used
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in network.state_dict().items())
    assert len(grid.beats) and np.isin(grid.downbeats, grid.beats).all()
    assert capsys.readouterr().err == "beats are tracked by 'beat_this'\n"


@pytest.mark.parametrize("name", ["speech_ashiel", "speech_austen", "speech_perceval", "whale", "loop_drone_g_97"])
def test_speech_animals_and_drones_have_no_beat(name: str) -> None:
    audio = recording(name)
    assert not len(own()(audio.samples, audio.rate, None).beats)


def test_beats_fall_on_the_bass_drum_and_not_on_the_brighter_sounds_between() -> None:
    audio = recording("loop_compus")
    grid = own()(audio.samples, audio.rate, None)
    assert grid.tempo == pytest.approx(148, rel=0.01)
    assert np.abs(grid.beats - np.arange(len(grid.beats)) * 60 / 148).max() < 0.07


@pytest.mark.parametrize("name", ["loop_garzul", "loop_safari"])
def test_loops_have_a_whole_number_of_beats(name: str) -> None:
    audio = recording(name)
    grid = own()(audio.samples, audio.rate, None)
    assert grid.tempo == pytest.approx(120, rel=0.01)
    assert len(grid.beats) == round(audio.seconds * 2) and grid.beats[-1] < audio.seconds


@pytest.mark.parametrize("name", ["loop_mehackit1", "loop_perc1"])
def test_a_loop_of_one_bar_has_its_beats(name: str) -> None:
    audio = recording(name)
    grid = own()(audio.samples, audio.rate, None)
    assert grid.tempo == pytest.approx(97, rel=0.01) and len(grid.beats) == 4


@pytest.mark.parametrize("name", ["loop_electric", "loop_mehackit1"])
def test_an_expected_tempo_decides_the_octave_of_a_loop(name: str) -> None:
    audio = recording(name)
    grid = own()(audio.samples, audio.rate, 97)
    assert grid.tempo == pytest.approx(97, rel=0.01) and len(grid.beats) == 4


@pytest.mark.parametrize(
    ("name", "expected", "tempo"),
    [("sugarplum", None, 111.2), ("trumpet_90", None, 90), ("fishin", 177, 177), ("loop_tabla", 90, 89.94)],
)
def test_recordings_are_heard_at_their_tempo_some_where_it_is_expected(
    name: str, expected: float | None, tempo: float
) -> None:
    audio = recording(name)
    assert own()(audio.samples, audio.rate, expected).tempo == pytest.approx(tempo, rel=0.01)


@pytest.mark.parametrize(("name", "tempo"), [("loop_perc1", 140), ("loop_mehackit1", 120), ("singing_vocadito", 90)])
def test_an_expected_tempo_that_is_not_heard_is_no_evidence(name: str, tempo: float) -> None:
    audio = recording(name)
    alone, expected = (own()(audio.samples, audio.rate, bpm) for bpm in (None, tempo))
    assert expected.tempo == pytest.approx(alone.tempo, rel=0.01)
    assert expected.confidence == pytest.approx(alone.confidence, abs=0.05)


@pytest.mark.parametrize("damage", ["cut", "a web page", "other tensors", "code"])
def test_unloadable_checkpoint_is_not_used_and_a_note_says_so(damage: str, tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    file = beat_trackers.save_listening(tmp_path)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif damage == "a web page":
        file.write_text("<html>not here</html>")
    elif damage == "other tensors":
        package = torch.load(file, weights_only=True)
        package["hyper_parameters"]["transformer_dim"] = 64
        torch.save(package, file)
    else:
        torch.save({"state_dict": Harmful(), "hyper_parameters": {}}, file)
    audio = beat_trackers.ticks(BEATS, BEATS[::4], SECONDS)
    with collected() as noted:
        assert_equal(beat_tracking.choose(WeightStore(tmp_path))(audio, RATE, None), own()(audio, RATE, None))
    [sentence] = noted
    assert sentence.startswith("Beats are tracked by our own tracker: 'beat_this' could not be loaded (")
    assert not (tmp_path / "ran").exists()


def test_analyse_prints_the_detected_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = BEATS[2::5]  # bars of five
    audio = beat_trackers.ticks(BEATS, bars, SECONDS)
    soundfile.write(tmp_path / "ticks.wav", audio, RATE)
    beat_trackers.save_listening(tmp_path)
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(tmp_path))
    cli.main(["analyse", str(tmp_path / "ticks.wav")])
    printed = capsys.readouterr()
    assert "beats are tracked by 'beat_this'" in printed.err
    assert f"beats       {len(BEATS)}, " in printed.out and f"; {len(bars)} bars" in printed.out


class TestWeights:
    """Beat This! in the `weights` commands."""

    def test_fetch_reports_where_to_download_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MUSICGEN_WEIGHTS", str(tmp_path))
        with pytest.raises(SystemExit) as refused:
            cli.main(["weights", "fetch", BEAT_TRACKER])
        assert str(refused.value) == (
            "error: 'beat_this' is not on the hub: put what https://cloud.cp.jku.at/index.php/s/7ik4RrBKTS273gp offers "
            f"at {tmp_path}/beat_this/final0.ckpt."
        )

    def test_manually_downloaded_file_is_recognised(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("MUSICGEN_WEIGHTS", str(tmp_path))
        beat_trackers.save_listening(tmp_path)
        cli.main(["weights", "fetch", BEAT_TRACKER])
        assert capsys.readouterr().out == "beat_this: already here\n"
        cli.main(["weights", "list"])
        [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith(BEAT_TRACKER)]
        assert line.split()[1] == "yes" and "MIT" in line
        cli.main(["weights", "verify"])
        assert BEAT_TRACKER not in capsys.readouterr().out
