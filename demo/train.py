"""Trains the demo checkpoint from nothing: codec, language model, export. Going on where it stopped.

python -m demo.train             the shipped recipe, into weights/demo (hours on two cores)
python -m demo.train --quick     a throw-away checkpoint in minutes, to test the pipeline
"""

import argparse
from pathlib import Path

import torch

from demo import train_codec, train_lm
from demo.export import export

FULL = {"codec_steps": 1600, "lm_steps": 4500, "shards": 120}
QUICK = {"codec_steps": 40, "lm_steps": 60, "shards": 8}


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
    train_codec.train(work, recipe["codec_steps"], arguments.device)
    train_lm.train(work, recipe["lm_steps"], recipe["shards"], arguments.device)
    export(work, out)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
