"""The commands `analyse` and `recipe`: output, and errors for unreadable files."""

import json
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from musicgen_service import cli
from musicgen_service.analysis import report
from tests.support.shell import refusal
from tests.support.sounds import RATE, tone

pytestmark = pytest.mark.usefixtures("shell")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def song() -> Path:
    """Eight seconds of clicks at 120 bpm over a chord."""
    sound = 0.1 * np.tile(tone(1.0)[0], 8)
    for beat in range(16):
        sound[beat * RATE // 2 :][:400] += 0.5 * np.exp(-np.arange(400) / 60)
    soundfile.write("song.wav", sound, RATE)
    return Path("song.wav")


def test_json_contains_the_full_report(song: Path, capsys: Capture) -> None:
    cli.main(["analyse", str(song), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {
        "file", "seconds", "channels", "sample_rate", "loudness_lufs", "tempo_bpm", "tempo_confidence",
        "tempo_alternatives", "metre", "metre_confidence", "beats_per_bar", "beats", "downbeats",
        "key", "key_confidence", "key_alternatives", "chords",
    }  # fmt: skip
    assert (found["file"], found["seconds"], found["channels"], found["sample_rate"]) == ("song.wav", 8.0, 1, RATE)
    assert found["tempo_bpm"] == pytest.approx(120, rel=0.01)
    assert len(found["beats"]) >= 14 and found["downbeats"][0] in found["beats"]
    assert {"start", "end", "label", "confidence", "alternatives"} == set(found["chords"][0])
    cli.main(["analyse", str(song)])
    shown = capsys.readouterr().out
    assert f"tempo       {found['tempo_bpm']:.2f} bpm" in shown and f"{found['loudness_lufs']:.1f} LUFS" in shown


def test_json_of_silence_has_the_same_keys(capsys: Capture) -> None:
    soundfile.write("silence.wav", np.zeros(RATE), RATE)
    cli.main(["analyse", "silence.wav", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["loudness_lufs"] is None and found["tempo_bpm"] is None and found["beats"] == []


def test_plot_is_written_to_the_given_path(song: Path, capsys: Capture) -> None:
    cli.main(["analyse", str(song), "--plot", "new/song.PNG"])
    assert Path("new/song.PNG").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in Path("new").iterdir()] == ["song.PNG"]
    assert "new/song.PNG exists already" in refusal(capsys, "analyse", str(song), "--plot", "new/song.PNG")
    cli.main(["analyse", str(song), "--plot", "new/song.PNG", "--force"])


def test_midi_is_written_to_the_given_path(song: Path, capsys: Capture) -> None:
    cli.main(["analyse", str(song), "--midi", "new/song.MID", "--plot", "new/song.png"])
    assert sorted(path.name for path in Path("new").iterdir()) == ["song.MID", "song.png"]
    file = mido.MidiFile("new/song.MID")
    assert file.length == pytest.approx(8, abs=0.01)
    tempi = [message.tempo for message in file.tracks[0] if message.type == "set_tempo"]
    assert tempi[-1] == pytest.approx(500_000, rel=0.01)
    assert "new/song.MID exists already" in refusal(capsys, "analyse", str(song), "--midi", "new/song.MID")
    cli.main(["analyse", str(song), "--midi", "new/song.MID", "--force"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("analyse missing.wav", "error: There is no file missing.wav."),
        ("analyse .", "error: . is a folder, not a file."),
        ("recipe missing.wav", "error: There is no file missing.wav."),
        ("recipe .", "error: . is a folder, not a file."),
        ("analyse song.wav --plot song.gif", "error: A plot's name must end in .png, .svg, .pdf, unlike 'song.gif'."),
        ("analyse song.wav --plot .", "error: A plot's name must end in .png, .svg, .pdf, unlike '.'."),
        ("analyse song.wav --midi song.wav", "error: A MIDI file's name must end in .mid, .midi, unlike 'song.wav'."),
        ("analyse song.wav --midi song.wav/a.mid", "error: song.wav is a file, not a folder."),
        ("analyse song.wav --plot song.wav/a.png", "error: song.wav is a file, not a folder."),
        ("analyse song.wav --plot /proc/a.png", "error: The folder /proc cannot be written to: No such file or"),
    ],
)  # fmt: skip
def test_usage_errors_are_reported_before_reading(
    arguments: str, sentence: str, song: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def analyse(*_: object) -> None:
        raise AssertionError("the recording was analysed")

    monkeypatch.setattr(report, "analyse", analyse)
    assert refusal(capsys, *arguments.split()).startswith(sentence)


def test_non_audio_file_is_reported(capsys: Capture) -> None:
    Path("notes.txt").write_text("la la la")
    message = refusal(capsys, "analyse", "notes.txt", status=1)
    assert message.startswith("error: notes.txt cannot be analysed: the file is not audio that can be decoded")
    assert refusal(capsys, "recipe", "notes.txt", status=1).startswith("error: notes.txt carries no recipe")
