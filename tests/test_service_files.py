"""The files of a request in process: their bits, stems, MIDI, tags and recipes."""

import re
import shlex
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from musicgen_service import naming
from musicgen_service.audio import reading, recipe
from musicgen_service.cli import inputs as cli_inputs
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS
from musicgen_service.seeds import variation_seed
from musicgen_service.service import MusicGenService
from musicgen_service.serving import audio_tasks
from tests.support import tag_readers
from tests.support.serviced import made, samples_of
from tests.support.sounds import RATE


def test_remix_returns_its_stems_in_order(service: MusicGenService, song: Path) -> None:
    files, seeds = service.generate(
        {
            "task": "remix",
            "input_audio": reading.read_input(song),
            "model_version": "melody",
            "return_stems": True,
            "variations": 2,
            "seed": 5,
        }
    )
    labels = ["01", "01_backing", "01_vocals", "02", "02_backing", "02_vocals"]
    assert [naming.label_in(file.stem) for file in files] == labels
    assert [file.name for file in files] == sorted(file.name for file in files)
    assert seeds == [seed for seed in (5, variation_seed(5, 1)) for _ in range(3)]
    [alone] = made(service, task="remix", input_audio=song, model_version="melody", seed=seeds[3])
    assert np.array_equal(samples_of(alone), samples_of(files[3]))


def test_files_of_stems_add_up_to_the_clip(service: MusicGenService) -> None:
    clip, *stems = made(service, prompt="rock", return_stems=True, sample_rate=44_100)
    assert [naming.label_in(file.stem) for file in stems] == ["drums", "bass", "other", "vocals"]
    whole, *parts = (soundfile.read(file, dtype="int16")[0].astype(int) for file in (clip, *stems))
    assert len(whole) == 44_100 and np.array_equal(sum(parts), whole)
    assert recipe.read(stems[0])["separator"] == "htdemucs" and "separator" in recipe.read(clip)


def test_stems_need_a_separator(service: MusicGenService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("musicgen_service.models.separators.choose", lambda _store: None)
    with pytest.raises(RequestError, match="return_stems takes a clip apart with 'spleeter', which is not installed"):
        made(service, prompt="rock", return_stems=True)
    assert made(service, prompt="rock")


@pytest.mark.parametrize(("name", "bits"), [("wav", 24), ("wav", 32), ("flac", 24)])
def test_a_file_has_the_bits_asked_for_and_is_converted_to_as_many(
    service: MusicGenService, name: str, bits: int, tmp_path: Path
) -> None:
    [file] = made(service, prompt="rock", output_format=name, bit_depth=bits)
    assert soundfile.info(file).subtype == {24: "PCM_24", 32: "FLOAT"}[bits]
    assert audio_tasks.convert(file, tmp_path / "other.flac").problem is None
    assert soundfile.info(tmp_path / "other.flac").subtype == "PCM_24"
    assert recipe.read(tmp_path / "other.flac")["bit_depth"] == 24
    assert np.abs(soundfile.read(tmp_path / "other.flac")[0] - soundfile.read(file)[0]).max() <= 2**-23
    assert audio_tasks.convert(file, tmp_path / "other.mp3").problem is None


def test_midi_files_lie_beside_the_clips(service: MusicGenService, song: Path) -> None:
    shared = {"prompt": "rock", "seed": 5, "variations": 2, "return_midi": True}
    files, seeds = service.generate({**shared, "task": "loop", "bpm": 120, "duration": 2})
    clips = [(naming.label_in(file.stem), file.suffix) for file in files]
    assert clips == [("01", ".wav"), ("01", ".mid"), ("02", ".wav"), ("02", ".mid")]
    assert seeds == [5, variation_seed(5, 1)]  # of what is audio
    for clip, notes in (files[:2], files[2:]):
        found = mido.MidiFile(notes)
        assert found.length == pytest.approx(soundfile.info(clip).duration, abs=2e-3)
        assert [message.tempo for message in found.tracks[0] if message.type == "set_tempo"] == [500_000]
    [given] = [reading.read_input(song)]
    stems = {"task": "remix", "input_audio": given, "return_stems": True, "model_version": "melody"}
    files, seeds = service.generate(shared | stems | {"variations": 1})
    clips = [(naming.label_in(file.stem), file.suffix) for file in files]
    assert clips == [("", ".wav"), ("", ".mid"), ("backing", ".wav"), ("vocals", ".wav")]
    assert seeds == [5] * 3


def test_a_loop_tells_a_daw_its_tempo_and_bars_in_every_format(service: MusicGenService, tmp_path: Path) -> None:
    [loop] = made(service, task="loop", prompt="deep house", bpm=120, duration=4)
    frames, acid = soundfile.info(loop).frames, tag_readers.acid(loop)
    assert (acid.beats, acid.numerator, acid.tempo) == (round(frames * 2 / RATE), 4, 120)
    assert (tag_readers.smpl(loop).start, tag_readers.smpl(loop).end) == (0, frames - 1)
    assert re.fullmatch(r"deep-house_120bpm(_[A-G]b?m?)?_s5\.wav", loop.name)
    for extension in ("mp3", "flac", "ogg"):
        other = tmp_path / f"loop.{extension}"
        assert audio_tasks.convert(loop, other).problem is None
        assert tag_readers.by_ffmpeg(other)["tbpm" if extension == "mp3" else "bpm"] == "120"
    back = tmp_path / "back.wav"
    assert audio_tasks.convert(tmp_path / "loop.flac", back).problem is None
    assert back.read_bytes() == loop.read_bytes()


def test_recipe_of_a_loop_variation_repeats_the_loop_up_to_it(service: MusicGenService) -> None:
    files, seeds = service.generate({"task": "loop", "prompt": "rock", "bpm": 300, "duration": 2, "variations": 2})
    assert seeds == [seeds[0], variation_seed(seeds[0], 1)]
    for number, file in enumerate(files, 1):
        found = recipe.read(file)
        assert (found["seed"], found["variations"], found["bpm"]) == (seeds[0], number, 300)


def test_file_contains_a_recipe_that_reproduces_it(service: MusicGenService, tmp_path: Path) -> None:
    [file] = made(service, prompt="rock & roll, 'live'", bpm=92, temperature=0.7, top_k=40, variations=1)
    found, sound = recipe.read(file), samples_of(file)
    assert "seed=5" in recipe.command(found, "python", tmp_path / "again.wav")
    inputs = {name: value for name, value in found.items() if value is not None and name in FIELDS}
    again = cli_inputs.parse([f"{name}={value}" for name, value in inputs.items()], FIELDS)
    assert np.array_equal(samples_of(made(service, **again)[0]), sound)


def test_recipe_contains_the_checksum_of_input_audio(service: MusicGenService, song: Path) -> None:
    [file] = made(service, input_audio=song, model_version="melody")
    found = recipe.read(file)
    assert found["input_audio"] == "song.wav" and len(found["input_audio_sha256"]) == 64


def test_recipe_names_the_recording_whose_chords_are_played(service: MusicGenService, song: Path) -> None:
    [file] = made(service, audio_chords=song, prompt="rock", model_version="melody")
    found = recipe.read(file)
    assert found["task"] == "chords" and recipe.files(found) == {"audio_chords": found["audio_chords_sha256"]}
    command = recipe.command(found, "python", Path("again.wav"))
    assert "audio_chords=@song.wav" in command and "sha256" not in command


@pytest.mark.parametrize("extension", ["wav", "flac"])
@pytest.mark.parametrize("model", ["small", "stereo-melody"])
def test_a_repainted_file_is_the_recording_outside_of_the_part(
    service: MusicGenService, tmp_path: Path, model: str, extension: str
) -> None:
    """To the bit, also where the recording has a constant offset."""
    stored = np.random.default_rng(0).integers(-32768, 32767, (4 * 44_100, 2), dtype=np.int16)
    stored[:, 0] //= 2
    stored[:, 0] += 5000
    path = tmp_path / "song.wav"
    soundfile.write(path, stored, 44_100)
    inputs = {"continuation_start": 1.01, "continuation_end": 2.02, "model_version": model, "variations": 2}
    files = made(service, task="repaint", input_audio=path, prompt="rock", output_format=extension, **inputs)
    clips = [soundfile.read(file, dtype="int16") for file in files]
    for clip, rate in clips:
        assert rate == 44_100 and clip.shape == stored.shape
        changed = np.flatnonzero((clip != stored).any(axis=1)) / 44_100
        # It is joined within the last 0.2 s of the part, where that is heard least.
        assert 1.0 < changed.min() < 1.04 and 1.8 < changed.max() < 2.03
    assert not np.array_equal(clips[0][0], clips[1][0])
    found = recipe.read(files[1])
    again = {name: found[name] for name in ("task", "prompt", "seed", "output_format", *inputs)}
    assert made(service, input_audio=path, **again)[0].read_bytes() == files[1].read_bytes()


def test_midi_of_a_repainted_recording_has_its_own_time(service: MusicGenService, song: Path) -> None:
    files = made(service, task="repaint", input_audio=song, continuation_start=0.7, return_midi=True)
    assert [file.suffix for file in files] == [".wav", ".mid"]
    assert soundfile.info(files[0]).samplerate == 44_100


def test_recipe_names_a_negative_prompt(service: MusicGenService, tmp_path: Path) -> None:
    inputs = {"prompt": "rock", "negative_prompt": "piano", "classifier_free_guidance": 4}
    [file] = made(service, **inputs)
    found = recipe.read(file)
    assert found["negative_prompt"] == "piano" and "negative_prompt=piano" in recipe.command(found, "python", tmp_path)
    # As before there was this input, so that the same request gives the same file.
    assert "negative_prompt" not in recipe.read(made(service, prompt="rock")[0])


def test_log_and_recipe_name_the_time_of_each_section(
    service: MusicGenService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    form = "intro 1 s: piano\nverse 1 bar: drums / not: flute"
    [file] = made(service, prompt="rock, 120 bpm", sections=form, duration=None, seed=3)
    assert "sections: intro 0 to 1 s, verse 1 to 3 s" in capsys.readouterr().err
    assert soundfile.info(file).frames == 3 * RATE
    found = recipe.read(file)
    assert found[recipe.SECTION_TIMES] == [["intro", 0, 1], ["verse", 1, 3]]
    again = shlex.split(recipe.command(found, "python", tmp_path))
    assert f"sections={form}" in again and not any("section_times" in word for word in again)
    [same] = made(service, **{name: found[name] for name in ("prompt", "sections", "seed")}, duration=None)
    assert np.array_equal(samples_of(same), samples_of(file))
    assert "sections" not in recipe.read(made(service, prompt="rock")[0])
