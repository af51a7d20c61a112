"""Trains the demo checkpoint from nothing: codec, language model, export. Going on where it stopped.

python -m demo.training             the shipped recipe, into weights/demo (hours on two cores)
python -m demo.training --quick     a throw-away checkpoint in minutes, to test the pipeline
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import torch

from demo.training import train_codec, train_language_model
from demo.training.export import export


class Recipe(NamedTuple):
    """How much is done of everything."""

    fitted_clips: int
    codec_steps: int
    lm_steps: int
    shards: int


FULL = Recipe(fitted_clips=900, codec_steps=6100, lm_steps=18500, shards=250)
QUICK = Recipe(fitted_clips=60, codec_steps=30, lm_steps=40, shards=4)


def main() -> None:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="minutes instead of hours, no music")
    parser.add_argument("--out", type=Path, help="the checkpoint's folder")
    parser.add_argument("--work", type=Path, help="folder for data and training state")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    recipe = QUICK if arguments.quick else FULL
    out = arguments.out or Path("build/demo-quick" if arguments.quick else "weights/demo")
    work = arguments.work or Path("build/demo-quick-work" if arguments.quick else "build/demo-work")
    train_codec.fit_quantiser(work, recipe.fitted_clips)
    train_codec.train(work, recipe.codec_steps, arguments.device)
    train_language_model.train(work, recipe.lm_steps, recipe.shards, arguments.device)
    export(work, out)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
