"""What the analysis says of recordings of people, beside what is known of them.

    python -m bench.recordings
    python -m bench.recordings --untrained  # chords and key without trained weights

Prints a table of the recordings in tests/data/real (LICENCES.txt): tempo and key, each with the confidence in it, the
share of the time without a chord, and the first chords. A known key or tempo is not always annotated by a person:
truth.json says where it comes from.
"""

import argparse
import json
from pathlib import Path

from musicgen_service.analysis import chords, report
from musicgen_service.audio import reading
from musicgen_service.models import beat_tracking, chord_recognition
from musicgen_service.models.store import WeightStore

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "data" / "real"


def main() -> None:
    """Analyse all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--untrained", action="store_true", help="use the recogniser of chords that needs no weights")
    arguments = parser.parse_args()
    truths = json.loads((FOLDER / "truth.json").read_text())
    track = beat_tracking.choose(WeightStore.from_environment())
    recognise = chords.recognise if arguments.untrained else chord_recognition.choose()
    print(
        f"| {'recording':21} | {'tempo: found':12} | {'known':6} | {'key: found':16} | {'known':8} | no chord | chords"
    )
    for path in sorted(path for path in FOLDER.iterdir() if path.suffix in (".flac", ".ogg")):
        found = report.analyse(reading.read(path), track, recognise)
        truth = truths.get(path.name, {})
        tempo = f"{found.grid.tempo:.1f} ({found.grid.confidence:.2f})"
        key = "{} ({:.2f})".format(*found.key) if found.key else "none"
        without = sum(end - start for start, end, label in found.harmony.chords if label == "N") / found.audio.seconds
        labels = " ".join(segment.label for segment in found.harmony.chords[:8])
        known = [truth.get(name) or "-" for name in ("tempo", "key")]
        row = f"| {path.stem:21} | {tempo:12} | {known[0]:6} | {key:16} | {known[1]:8} | {without:8.0%} | {labels}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
