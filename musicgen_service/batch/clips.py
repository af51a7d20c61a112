"""What a manifest says of a clip."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soundfile

from musicgen_service import threads
from musicgen_service.audio import encoding, reading, recipe
from musicgen_service.audio.lufs import integrated_loudness
from musicgen_service.batch.errors import RequestFailed

if TYPE_CHECKING:
    from musicgen_service.analysis.beats import BeatTracker
    from musicgen_service.analysis.chords import ChordRecogniser


class Describer:
    """Describes files; any number of threads may use it.

    Parameters
    ----------
    listens : whether tempo and key are heard too, which takes a good part of the time that a short clip takes
    """

    def __init__(self, *, listens: bool) -> None:
        self._listens = listens
        self._lock = threading.Lock()
        self._listening = threading.Semaphore(0)
        self._ears: tuple[BeatTracker, ChordRecogniser] | None = None

    def describe(self, file: Path) -> dict[str, Any]:
        """Describe a clip: length, seed, loudness, tempo, key and recipe.

        Raises
        ------
        RequestFailed
            When the file is no clip of this service.
        """
        try:
            contents = recipe.read(file)
            audio = reading.read(file)
        except (recipe.RecipeError, reading.AudioError, soundfile.SoundFileError) as error:
            raise RequestFailed(f"What was made cannot be used: {error}") from None
        level = integrated_loudness(audio.samples, audio.rate)
        described = {
            "seconds": round(encoding.seconds(file), 6),
            "seed": contents["seed"],
            "loudness_lufs": round(level, 2) if level > float("-inf") else None,
        }
        return described | (self._heard(audio) if self._listens else {}) | {"recipe": contents}

    def _heard(self, audio: reading.Audio) -> dict[str, Any]:
        from musicgen_service.analysis import report

        track, recognise = self._load()
        with self._listening:
            data = report.analyse(audio, track, recognise).data
        return {
            name: round(data[name], 3) if isinstance(data[name], float) else data[name]
            for name in ("tempo_bpm", "tempo_confidence", "key", "key_confidence")
        }

    def _load(self) -> "tuple[BeatTracker, ChordRecogniser]":
        """Load what hears beats and chords, once."""
        from musicgen_service.models import beat_tracking, chord_recognition
        from musicgen_service.models.store import WeightStore

        with self._lock:
            if self._ears is None:
                self._ears = beat_tracking.choose(WeightStore.from_environment()), chord_recognition.choose()
                # The other cores are for the steps of what is being made.
                self._listening.release(max(1, threads.limit() // 2))
            return self._ears
