"""Scores of human composers, played by a soundfont, with exact truth about what is heard.

`python -m bench.rendered` makes the clips; `load` reads them. Making them needs the extra `bench` of pyproject.toml
(music21, whose corpus has the scores) and Debian's `fluidsynth` and `fluid-soundfont-gm`; reading them needs
nothing.
"""

from pathlib import Path

from bench.rendered.clip import HELD_BACK, TRAINING, TRUTH, Clip

__all__ = ["FOLDER", "HELD_BACK", "TRAINING", "Clip", "load"]

FOLDER = Path(__file__).resolve().parents[2] / "build" / "rendered"


def load(split: str | None = None, kind: str | None = None, folder: Path = FOLDER) -> list[Clip]:
    """The clips in a folder, in the order of their names.

    Parameters
    ----------
    split, kind : only those; see `Clip`

    Raises
    ------
    FileNotFoundError
        The folder has no clips.
    """
    clips = [Clip.open(path) for path in sorted(folder.glob(f"*{TRUTH}"))]
    if not clips:
        raise FileNotFoundError(f"{folder} has no clips: run `python -m bench.rendered` first")
    return [clip for clip in clips if split in (None, clip.split) and kind in (None, clip.kind)]
