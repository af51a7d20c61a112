"""`python -m musicgen_service analyse`: printed report and plot."""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from demo.synth import SAMPLE_RATE, Song, Synthesiser
from musicgen_service import cli
from musicgen_service.analysis import report
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.chords import ChordSegment, Harmony
from musicgen_service.audio import ffmpeg
from musicgen_service.audio.reading import Audio


@pytest.fixture(scope="module")
def song() -> Song:
    return Synthesiser().song(
        650_000_000, 12.0, style="rock", bpm=120, key=0, mode="major", drums=True, beats_per_bar=4
    )


def analyse(*arguments: object) -> None:
    cli.main(["analyse", *map(str, arguments)])


def test_complete_report_is_printed(song: Song, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "song.flac", song.audio, SAMPLE_RATE)
    analyse(tmp_path / "song.flac")
    out = capsys.readouterr().out
    assert "length      12.00 s" in out
    assert float(re.findall(r"tempo +([\d.]+) bpm", out)[0]) == pytest.approx(120, rel=0.002)
    assert re.search(r"beats +24, the first at 0\.0\d s; 6 bars in 4/4 \(", out)
    assert re.search(r"4/4 \(confidence (0\.[5-9]\d|1\.00)\), the first at 0\.0\d s", out)
    assert re.search(r"key +(C major|A minor) \(confidence 0\.\d+|1\.00\)", out)
    assert re.search(r"loudness +-\d+\.\d LUFS", out)
    times = [(float(start), float(end)) for start, end in re.findall(r"(\d+\.\d\d) +(\d+\.\d\d)  \S", out)]
    assert times[0][0] == 0 and times[-1][1] == 12 and len(times) > 3


def test_plot_is_written(song: Song, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "song.wav", np.stack([song.audio, song.audio]).T, SAMPLE_RATE)
    analyse(tmp_path / "song.wav", "--plot", tmp_path / "new" / "song.png")
    from matplotlib.image import imread

    picture = imread(tmp_path / "new" / "song.png")
    assert picture.shape[0] > 300 and picture.shape[1] > 600
    red, green, blue = (picture[..., channel] for channel in range(3))
    assert ((red > 0.8) & (green < 0.3)).any(), "bar lines are red"
    assert ((blue > 0.6) & (red < 0.5)).any(), "beats are blue"


def test_everything_is_there_as_json(song: Song, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "song.flac", song.audio, SAMPLE_RATE)
    analyse(tmp_path / "song.flac", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["key"] in ("C major", "A minor") and 0 < found["key_confidence"] <= 1
    assert found["metre"] == "4/4" and 0 < found["metre_confidence"] <= 1
    tempi = found["tempo_alternatives"]
    assert all(set(other) == {"tempo_bpm", "metre", "confidence"} for other in tempi)
    assert found["tempo_confidence"] + sum(other["confidence"] for other in tempi) <= 1.001
    others = [other["key"] for other in found["key_alternatives"]]
    assert len(others) == len(set(others)) and found["key"] not in others
    for chord in found["chords"]:
        assert set(chord) == {"start", "end", "label", "confidence", "alternatives"}
        assert chord["label"] not in [other["label"] for other in chord["alternatives"]]
        assert chord["confidence"] + sum(other["confidence"] for other in chord["alternatives"]) <= 1.001


def drawn(samples: np.ndarray, harmony: Harmony) -> Axes:
    """The waveform of a picture."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        figures: list[Figure] = []
        patch.setattr(Figure, "savefig", lambda figure, *_args, **_more: figures.append(figure))
        report.plot(report.Report(Audio(samples, SAMPLE_RATE), BeatGrid(), harmony, -20.0), Path(folder) / "x.png")
    return figures[0].axes[0]


def test_a_picture_names_a_key_where_the_text_does_and_nowhere_else() -> None:
    tone = 0.5 * np.sin(np.arange(SAMPLE_RATE) / 50, dtype=np.float32)[None]
    chords = [ChordSegment(0.0, 1.0, "N")]
    assert "no beat, no key" in drawn(tone, Harmony(chords)).get_title(loc="left")
    assert "no clear key" in drawn(tone, Harmony(chords, keys=[("F major", 0.1)])).get_title(loc="left")
    assert "F major" in drawn(tone, Harmony(chords, keys=[("F major", 0.4)])).get_title(loc="left")


def test_a_quiet_recording_fills_its_picture() -> None:
    tone = np.sin(np.arange(SAMPLE_RATE) / 50, dtype=np.float32)[None]
    for amplitude in (1.0, 0.02):
        bottom, top = drawn(amplitude * tone, Harmony([])).get_ylim()
        assert -bottom == top and amplitude < top < 1.2 * amplitude


@pytest.mark.parametrize(("confidence", "doubt"), [(0.3, "; they may begin on other beats"), (0.5, "")])
def test_unclear_bars_are_told(confidence: float, doubt: str) -> None:
    beats = np.arange(0, 8, 0.5)
    grid = BeatGrid(120, beats, beats[::4], confidence=1.0, metre_confidence=confidence)
    text = str(report.Report(Audio(np.zeros((1, 8), np.float32), 1), grid, Harmony([]), -20.0))
    assert f"4 bars in 4/4 (confidence {confidence:.2f}{doubt}), the first at 0.00 s" in text


def test_an_m4a_is_read(song: Song, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "song.wav", song.audio, SAMPLE_RATE)
    ffmpeg.run(["-i", str(tmp_path / "song.wav"), str(tmp_path / "song.m4a")])
    analyse(tmp_path / "song.m4a")
    assert "bpm" in capsys.readouterr().out


def test_silence_and_very_short_files_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for samples in (1, 3 * SAMPLE_RATE):
        soundfile.write(tmp_path / "silence.wav", np.zeros(samples, np.float32), SAMPLE_RATE)
        analyse(tmp_path / "silence.wav", "--plot", tmp_path / "silence.png", "--force")
        out = capsys.readouterr().out
        assert "no beat found" in out and "no key found" in out and "loudness    silence" in out
        assert (tmp_path / "silence.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("missing.wav",), "error: There is no file missing.wav."),
        (("pyproject.toml",), "error: pyproject.toml cannot be analysed: the file is not audio that can be decoded"),
        (("pyproject.toml", "--plot", "picture.doc"), "error: A plot's name must end in .png, .svg, .pdf"),
    ],
)
def test_error_is_one_sentence(arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        analyse(*arguments)
    message = f"{raised.value}\n" if isinstance(raised.value.code, str) else capsys.readouterr().err
    assert message.startswith(sentence) and message.count("\n") == 1
