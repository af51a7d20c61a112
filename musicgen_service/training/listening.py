"""What is understood of songs before training: length, caption, tempo, key, pieces, and what cannot be used."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from musicgen_service.analysis.beats import BeatTracker
from musicgen_service.analysis.chords import ChordRecogniser
from musicgen_service.audio import reading
from musicgen_service.audio.reading import Audio, AudioError
from musicgen_service.training import captions, pieces
from musicgen_service.training.fingerprint import Fingerprint
from musicgen_service.training.pieces import MIN_SECONDS, Piece
from musicgen_service.training.sources import SongFile

_BEAT_CONFIDENCE, _KEY_CONFIDENCE = 0.3, 0.2
"""Confidences below which a caption names no tempo or key: a wrong one would be learned."""
_TOLD_REST = 0.1
"""Seconds; shorter rests are not told."""


@dataclass(frozen=True)
class Song:
    """A song as it is understood.

    Attributes
    ----------
    name : of its file
    path : where it can be read
    sha256 : of the file
    seconds : its length
    caption : without a trigger
    pieces : to train on; empty where there is a problem
    notes : what to know about it, as clauses
    problem : why it is left out; None where it is not
    """

    name: str
    path: Path
    sha256: str
    seconds: float = 0.0
    caption: str = ""
    pieces: tuple[Piece, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def summary(self) -> dict[str, Any]:
        """What is understood of it, in JSON types."""
        return {
            "name": self.name,
            "seconds": round(self.seconds, 2),
            "pieces": len(self.pieces),
            "caption": self.caption,
            "notes": list(self.notes),
            "problem": self.problem,
        }


class _Known(NamedTuple):
    """A song that is used, to find copies of it."""

    name: str
    sha256: str
    sound: Fingerprint


class Listener:
    """Listens to songs, one after the other.

    Parameters
    ----------
    track, recognise : hear beats and chords
    window : longest piece, in seconds
    caption : for all songs that have no text of their own; None for the names of their files
    trigger : which no caption keeps; None without one
    as_written : whether captions stay without the tempo, key and metre that are heard
    """

    def __init__(
        self,
        track: BeatTracker,
        recognise: ChordRecogniser,
        window: float,
        caption: str | None = None,
        trigger: str | None = None,
        *,
        as_written: bool = False,
    ) -> None:
        self._trigger = trigger
        self._as_written = as_written
        self._track = track
        self._recognise = recognise
        self._window = window
        self._caption = caption

    def hear_all(self, files: Sequence[SongFile], report: Callable[[int], None]) -> list[Song]:
        """Listen to all songs; of copies one is used, with a text if one of them has it.

        Parameters
        ----------
        report : called with the number of songs that are done

        Returns
        -------
        Songs in the order of their files
        """
        songs: dict[str, Song] = {}
        known: list[_Known] = []
        for number, file in enumerate(sorted(files, key=lambda file: file.text is None), 1):
            songs[file.name] = self._hear(file, known)
            report(number)
        return [songs[file.name] for file in files]

    def _hear(self, file: SongFile, known: list[_Known]) -> Song:
        """Listen to a song; one that can be used and is no copy is added to `known`."""
        song = Song(file.name, file.path, _digest(file.path))
        used = next((one.name for one in known if one.sha256 == song.sha256), None)
        if used is not None:
            return replace(song, problem=f"it is the same as {used}")
        try:
            audio = reading.read(file.path)
        except AudioError as error:
            return replace(song, problem=f"it cannot be read: {str(error).rstrip('.')}")
        song = replace(song, seconds=audio.seconds)
        if audio.is_silent:
            return replace(song, problem="it is silent")
        if audio.seconds < MIN_SECONDS:
            return replace(song, problem=f"it is shorter than {MIN_SECONDS:g} s")
        sound = Fingerprint(audio)
        used = next((one.name for one in known if one.sound.is_like(sound)), None)
        if used is not None:
            return replace(song, problem=f"it sounds the same as {used}")
        known.append(_Known(file.name, song.sha256, sound))
        return self._understood(song, file, audio)

    def _understood(self, song: Song, file: SongFile, audio: Audio) -> Song:
        grid = self._track(audio.mono, audio.rate, None)
        keys = self._recognise(audio.mono, audio.rate, grid).keys
        has_beat = len(grid.beats) > 0 and grid.confidence >= _BEAT_CONFIDENCE
        key = keys[0][0] if keys and keys[0][1] >= _KEY_CONFIDENCE else None
        text = captions.own_text(file) or self._caption or captions.from_name(file)
        text = captions.without_trigger(self._trigger, text)
        caption = text
        if not self._as_written:
            caption = captions.complete(text, grid.tempo if has_beat else None, key, grid.metre if has_beat else None)
        parts, rest = pieces.cut(audio.seconds, grid.downbeats if has_beat else (), self._window)
        notes = []
        if not has_beat:
            notes.append("no beat was heard, so it is not cut on bars")
        if not has_beat and key is None:
            notes.append("no key either: it may be speech or noise")
        if rest >= _TOLD_REST:
            notes.append(f"{rest:.1f} s are left out, as pieces under {MIN_SECONDS:g} s")
        return replace(song, caption=caption, pieces=tuple(parts), notes=tuple(notes))


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def table(songs: Sequence[Song]) -> str:
    """What was understood, a line for each song and what is to be known about it below it."""
    lines = [f"{'SONG':32}  {'LENGTH':>8}  {'PIECES':>6}  CAPTION"]
    for song in songs:
        name = song.name if len(song.name) <= 32 else "..." + song.name[-29:]
        if song.problem:
            lines.append(f"{name:32}  {song.seconds:6.1f} s  {'-':>6}  left out: {song.problem}")
            continue
        lines.append(f"{name:32}  {song.seconds:6.1f} s  {len(song.pieces):6}  {song.caption}")
        lines += [f"{'':32}  {note}" for note in song.notes]
    return "\n".join(lines)
