"""Train the demo checkpoint from nothing, or go on where training stopped.

    python -m demo.training            # the full recipe: hours on two cores
    python -m demo.training --quick    # minutes and no music, to test the pipeline
    python -m bench.compare build/demo-training/weights    # the result beside the shipped checkpoint

It may be interrupted at any time, even killed: the same command goes on from the last checkpoint. The shipped
weights are not touched; the result is a weights folder, which MUSICGEN_WEIGHTS may name.
"""

import argparse
from pathlib import Path

from demo.training.recipe import FULL, QUICK
from demo.training.stages import FolderError, train


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a few steps of every stage")
    parser.add_argument(
        "--folder", type=Path, help="where everything is kept (build/demo-training, or build/demo-training-quick)"
    )
    parser.add_argument("--device", default="cpu", help="cpu; on cuda this has not been tried")
    arguments = parser.parse_args()
    folder = arguments.folder or Path("build", "demo-training-quick" if arguments.quick else "demo-training")
    try:
        train(folder, QUICK if arguments.quick else FULL, arguments.device)
    except FolderError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
