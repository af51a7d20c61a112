"""What is heard in a recording as a standard MIDI file, whose bars line up with it in a DAW."""

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from musicgen_service.analysis import tempo_map
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.chord_labels import QUALITIES, parse
from musicgen_service.analysis.chord_symbols import symbol
from musicgen_service.analysis.chords import ChordSegment, Harmony
from musicgen_service.analysis.tempo_map import TempoMap
from musicgen_service.analysis.transcription import Note, Transcription
from musicgen_service.audio.music import key_symbol

if TYPE_CHECKING:
    import mido

_CHORD_OCTAVE = 48  # MIDI number of the lowest root
_CHORD_VELOCITY = 64
_PIANO, _BASS_GUITAR = 0, 33  # programs of General MIDI, less 1
_CLOCKS = 24  # of MIDI, in a quarter note
_Event = tuple[int, int, "mido.Message | mido.MetaMessage"]
"""Tick, order among events of the same tick, and message."""


class Marker(NamedTuple):
    """A name for what begins at a time in seconds."""

    start: float
    text: str


def encode(
    grid: BeatGrid,
    harmony: Harmony,
    voices: Transcription,
    asked: Sequence[ChordSegment] = (),
    sections: Sequence[Marker] = (),
) -> bytes:
    """Build a MIDI file of format 1, whose texts are UTF-8.

    Its first track has tempi, time signatures, the key if it is clear, and a marker for each section and each chord;
    the others have the chords, with their names as texts, the melody and the bass. Notes are where they were heard, not
    quantised. Without beats the tempo is 120 bpm.

    Parameters
    ----------
    asked : the chords that were asked for; they have the markers, and a track of their own after the others
    sections : where the sections start that were asked for
    """
    # Imported here: few requests write MIDI.
    import mido

    times = tempo_map.of_grid(grid)
    file = mido.MidiFile(type=1, ticks_per_beat=tempo_map.TICKS, charset="utf-8")
    end = times.tick(harmony.chords[-1].end) if harmony.chords else 0
    markers = [*sections, *(Marker(chord.start, symbol(chord.label)) for chord in asked or harmony.chords)]
    file.tracks.append(_track("Tempo, metre and chord names", list(_conductor(times, harmony, markers)), end))
    parts = [
        ("Chords", _PIANO, list(_chord_notes(harmony.chords)), harmony.chords),
        ("Melody", _PIANO, voices.melody, ()),
        ("Bass", _BASS_GUITAR, voices.bass, ()),
    ]
    if asked:
        parts.append(("Chords asked for", _PIANO, list(_chord_notes(asked)), asked))
    for channel, (name, program, notes, named) in enumerate(parts):
        events = [(0, 0, mido.Message("program_change", channel=channel, program=program))]
        events += [(times.tick(chord.start), 1, mido.MetaMessage("text", text=symbol(chord.label))) for chord in named]
        events += _note_events(times, notes, channel)
        file.tracks.append(_track(name, events, end))
    content = io.BytesIO()
    file.save(file=content)
    return content.getvalue()


def _conductor(times: TempoMap, harmony: Harmony, markers: Sequence[Marker]) -> Iterator[_Event]:
    import mido

    click = _CLOCKS * times.beat // tempo_map.TICKS
    for tick, numerator, denominator in times.signatures:
        yield (
            tick,
            0,
            mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator, clocks_per_click=click),
        )
    for tick, length in times.tempi:
        yield tick, 0, mido.MetaMessage("set_tempo", tempo=length)
    if harmony.clear_key is not None:
        yield 0, 0, mido.MetaMessage("key_signature", key=key_symbol(harmony.clear_key))
    for marker in markers:
        yield times.tick(marker.start), 1, mido.MetaMessage("marker", text=marker.text)


def _chord_notes(chords: Sequence[ChordSegment]) -> Iterator[Note]:
    """The notes of each chord from its root up, over its bass where that is another note."""
    for start, end, label in chords:
        if chord := parse(label):
            pitches = [_CHORD_OCTAVE + chord.root + step for step in QUALITIES[chord.quality]]
            if chord.bass != chord.root:
                pitches.insert(0, _CHORD_OCTAVE - 12 + chord.bass)
            for pitch in pitches:
                yield Note(start, end, pitch, _CHORD_VELOCITY)


def _note_events(times: TempoMap, notes: Sequence[Note], channel: int) -> Iterator[_Event]:
    import mido

    for start, end, pitch, velocity in notes:
        begin = times.tick(start)
        yield begin, 3, mido.Message("note_on", channel=channel, note=pitch, velocity=velocity)
        # A note ends before another one of its pitch begins, at the same tick or later.
        yield max(begin + 1, times.tick(end)), 2, mido.Message("note_off", channel=channel, note=pitch, velocity=0)


def _track(name: str, events: Sequence[_Event], end: int) -> "mido.MidiTrack":
    """Events of any order as a track that ends at a tick, or after them."""
    import mido

    track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
    now = 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=max(0, end - now)))
    return track
