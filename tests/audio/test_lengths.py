"""Files are read to their end, regardless of the length in their header."""

import struct
from pathlib import Path

import numpy as np
import pytest

from musicgen_service import notes
from musicgen_service.audio import reading
from musicgen_service.audio.reading import AudioError
from tests.support import corpus
from tests.support.containers import CHAINS, KINDS, SECONDS, Workshop, by_ffmpeg, sized
from tests.support.sounds import tone

DATA = Path("tests/data/audio")
REPORTED = {
    "vbr_noxing_qn.mp3": 12.04,
    "concatenated.mp3": 8.1,
    "chained_libvorbis.ogg": 8.0,
    "streamed.flac": 4.0,
    "wav_data0.wav": 0.5,
    "antiphase.flac": 4.0,
    "six_vorbis.ogg": 2.0,
}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.mark.parametrize("name", REPORTED)
def test_reported_files_have_their_full_length(name: str) -> None:
    assert reading.read(DATA / name).seconds == pytest.approx(REPORTED[name], abs=0.05)


def test_number_of_formats() -> None:
    assert len(KINDS) >= 40


@pytest.mark.parametrize("kind", KINDS)
def test_length_equals_that_of_ffmpeg(kind: str, workshop: Workshop, tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(KINDS[kind](workshop))
    audio, expected = reading.read(path), by_ffmpeg(path)
    assert audio.seconds == pytest.approx(expected, abs=0.05)
    assert expected > 0.1 * SECONDS and np.abs(audio.samples).max() > 0.05


@pytest.mark.parametrize("kind", CHAINS)
def test_all_links_of_a_mixed_chain_are_read(kind: str, workshop: Workshop, tmp_path: Path) -> None:
    links = CHAINS[kind](workshop)
    path = tmp_path / "upload"
    path.write_bytes(links[0])
    first = reading.read(path)
    path.write_bytes(b"".join(links))
    audio = reading.read(path)
    assert audio.seconds == pytest.approx(len(links) * SECONDS, abs=0.05)
    assert (audio.rate, audio.samples.shape[0]) == (first.rate, first.samples.shape[0])
    # The chord has its original pitch in every link.
    for number in range(len(links)):
        part = audio.slice((number + 0.1) * SECONDS, (number + 0.9) * SECONDS).samples[0]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        strongest = np.fft.rfftfreq(len(part), 1 / audio.rate)[spectrum.argmax()]
        assert min(abs(strongest - note) for note in (220.0, 277.2, 329.6)) < 2


def test_undecodable_link_is_left_out_with_a_note(workshop: Workshop, tmp_path: Path) -> None:
    good = workshop.made("mono", "opus")
    path = tmp_path / "upload"
    path.write_bytes(good + good.replace(b"OpusHead", b"OpusTail") + good)
    with notes.collected() as collected:
        assert reading.read(path).seconds == pytest.approx(2 * SECONDS, abs=0.05)
    assert collected == ["A part of the audio file cannot be decoded and is left out."]


@pytest.mark.parametrize(("bits", "valid"), [(16, 12), (24, 20), (32, 16), (32, 20), (32, 24)])
def test_samples_may_be_narrower_than_their_words(bits: int, valid: int, tmp_path: Path) -> None:
    sound = tone(0.1, rate=corpus.RATE)[0]
    words = (sound.astype(float) * 2**31).astype("<i4").view(np.uint8).reshape(-1, 4)[:, 4 - bits // 8 :].tobytes()
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, corpus.RATE, corpus.RATE * bits // 8, bits // 8, bits, 22, valid, 4)
    form += struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(words)) + words
    path = tmp_path / "song.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert reading.read(path).samples[0] == pytest.approx(sound, abs=2e-3)


def test_truncated_flac_is_damaged(workshop: Workshop, tmp_path: Path) -> None:
    path = tmp_path / "song.flac"
    complete = workshop.made("mono", "flac")
    path.write_bytes(complete[: len(complete) * 2 // 3])
    with pytest.raises(AudioError, match="damaged"):
        reading.read(path)


def test_empty_wav_holds_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(sized(corpus.wav(b""), 0, 0))
    with pytest.raises(AudioError, match="holds no sound"):
        reading.read(path)
