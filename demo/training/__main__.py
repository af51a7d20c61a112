"""Train the demo checkpoint from scratch, or resume where training stopped.

    python -m demo.training            # the full recipe: hours on two cores
    python -m demo.training --quick    # minutes; tests the pipeline, but yields no music
    python -m bench.compare build/demo-training/weights    # compares the result with the shipped checkpoint

It may be interrupted or killed at any time: the same command resumes from the last checkpoint. The shipped weights
are not modified; the result is a weights folder for MUSICGEN_WEIGHTS.
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
