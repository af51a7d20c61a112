"""The `analyse` command: tempo, beats, key, loudness and chords of a recording, and its notes as MIDI."""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from musicgen_service import home
from musicgen_service.cli.errors import CommandError, UsageError
from musicgen_service.cli.files import deliver, readable_file, writable_targets
from musicgen_service.cli.parser import Parser

if TYPE_CHECKING:
    from musicgen_service.analysis.report import Report

_MIDI = (".mid", ".midi")


def add_arguments(parser: Parser, _words: Sequence[str]) -> None:
    """Add the arguments of the command."""
    parser.add_argument("file", metavar="FILE", help="a recording")
    parser.add_argument("--plot", metavar="PICTURE", help="also draw waveform, beats and chords: .png, .svg or .pdf")
    parser.add_argument("--midi", metavar="MIDI", help="also write tempo map, chords, melody and bass: .mid or .midi")
    parser.add_argument("--force", action="store_true", help="overwrite files")
    parser.add_argument("--json", action="store_true", help="print everything, each beat included, as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the analysis of the recording, and write what else is asked for."""
    file = readable_file(options.file)
    # Imported here: librosa takes a second to load.
    from musicgen_service.analysis import report
    from musicgen_service.audio import reading
    from musicgen_service.models import beat_tracking, chord_recognition
    from musicgen_service.models.store import WeightStore

    picture = _target(options.plot, "A plot's name", report.PICTURES)
    midi = _target(options.midi, "A MIDI file's name", _MIDI)
    with writable_targets([path for path in (picture, midi) if path], force=options.force):
        try:
            audio = reading.read(file)
        except reading.AudioError as error:
            raise CommandError(f"{file} cannot be analysed: {error}") from None
        track = beat_tracking.choose(WeightStore.from_environment())
        analysis = report.analyse(audio, track, chord_recognition.choose())
        with tempfile.TemporaryDirectory() as folder:
            moves = []
            if picture:
                moves.append((Path(folder) / f"plot{picture.suffix.lower()}", picture))
                report.plot(analysis, moves[-1][0])
            if midi:
                moves.append((Path(folder) / "notes.mid", midi))
                moves[-1][0].write_bytes(_transcribed(analysis))
            deliver(moves, force=options.force)
    print(json.dumps({"file": str(file), **analysis.data}, indent=2) if options.json else analysis)


def _target(text: str | None, what: str, extensions: Sequence[str]) -> Path | None:
    """The path of a file to write; raises `UsageError` unless it has one of these extensions."""
    if text is None:
        return None
    path = home.expanded(text)
    if path.suffix.lower() not in extensions:
        raise UsageError(f"{what} must end in {', '.join(extensions)}, unlike '{text}'.")
    return path


def _transcribed(analysis: "Report") -> bytes:
    """The analysis and the notes of its recording as a MIDI file."""
    from musicgen_service.analysis import midi
    from musicgen_service.models import transcription
    from musicgen_service.progress import Progress

    progress = Progress()
    try:
        voices = transcription.choose()(analysis.audio.mono, analysis.audio.rate, progress.report)
    finally:
        progress.close()
    return midi.encode(analysis.grid, analysis.harmony, voices)
