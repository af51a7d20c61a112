"""Make the clips: `python -m bench.rendered --clips 300`.

The same number makes the same clip. Clips that lie in the folder already are kept.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from bench.rendered import FOLDER, midi
from bench.rendered.clip import SPLITS, TRUTH
from bench.rendered.making import make, split


def main() -> None:
    """Make those that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--split", choices=SPLITS, help="only those of this part")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    if not midi.is_installed():
        sys.exit("needs fluidsynth and its General MIDI soundfont: apt-get install fluidsynth fluid-soundfont-gm")
    wanted = [n for n in range(options.clips) if options.split in (None, split(n))]
    missing = [n for n in wanted if not (options.folder / f"{n:04d}{TRUTH}").is_file()]
    with ProcessPoolExecutor(options.processes) as pool:
        for done, clip in enumerate(pool.map(partial(make, folder=options.folder), missing), 1):
            what = f"{clip.kind}, {clip.metre}, {clip.feel or 'no drums'}"
            print(f"{done}/{len(missing)} {clip.name}: {what}, {clip.composer}", flush=True)


if __name__ == "__main__":
    main()
