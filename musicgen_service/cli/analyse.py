"""The `analyse` command: tempo, beats, key, loudness and chords of a recording."""

import argparse
import json
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from musicgen_service.cli.errors import CommandError, UsageError
from musicgen_service.cli.files import deliver, readable_file, writable_targets
from musicgen_service.cli.parser import Parser


def add_arguments(parser: Parser, _words: Sequence[str]) -> None:
    """Add the arguments of the command."""
    parser.add_argument("file", metavar="FILE", help="a recording")
    parser.add_argument("--plot", metavar="PICTURE", help="also draw waveform, beats and chords: .png, .svg or .pdf")
    parser.add_argument("--force", action="store_true", help="overwrite the picture")
    parser.add_argument("--json", action="store_true", help="print everything, each beat included, as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the analysis of the recording, and draw it if asked to."""
    file = readable_file(options.file)
    picture = Path(options.plot).expanduser() if options.plot is not None else None
    # Imported here: librosa takes a second to load.
    from musicgen_service.analysis import report
    from musicgen_service.audio import reading
    from musicgen_service.models import beat_tracking, chord_recognition
    from musicgen_service.models.store import WeightStore

    if picture and picture.suffix.lower() not in report.PICTURES:
        raise UsageError(f"A plot's name must end in {', '.join(report.PICTURES)}, unlike '{options.plot}'.")
    with writable_targets([picture], force=options.force) if picture else nullcontext():
        try:
            audio = reading.read(file)
        except reading.AudioError as error:
            raise CommandError(f"{file} cannot be analysed: {error}") from None
        track = beat_tracking.choose(WeightStore.from_environment())
        analysis = report.analyse(audio, track, chord_recognition.choose())
        if picture:
            with tempfile.TemporaryDirectory() as folder:
                drawn = Path(folder) / f"plot{picture.suffix.lower()}"
                report.plot(analysis, drawn)
                deliver([(drawn, picture)], force=options.force)
    print(json.dumps({"file": str(file), **analysis.data}, indent=2) if options.json else analysis)
