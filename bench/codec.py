"""How long the codec takes to decode, beside audiocraft's with the same weights.

    python -m bench.codec

Random codecs of the released size and of the demo's, mono, one thread. The two take turns, and the least processor time
counts, which other work on the machine hardly changes.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable

from bench import machine
from demo.training import configs
from musicgen_service.models import audiocraft_adapter as adapter
from musicgen_service.models import encodec_formats
from musicgen_service.models.checkpoint_config import parse

import torch
from omegaconf import OmegaConf

SIZES = {"released": (64, 128, 2048), "demo": (16, 64, 512)}
"""Filters, dimension, and values of a token."""


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="of sound (default %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="of each codec (default %(default)s)")
    parser.add_argument("--only", nargs="+", choices=SIZES, default=list(SIZES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine.describe(torch.device('cpu'))}; load average {os.getloadavg()[0]:.1f}")
    print(f"python -m bench.codec {' '.join(sys.argv[1:])}".rstrip(), end="\n\n")
    head = f"processor time of {options.seconds} s, s"
    print(f"{head:28}{'audiocraft':>12}{'ours':>8}{'ratio':>8}{'difference':>14}")
    for name in options.only:
        before, after, difference = _race(*SIZES[name], options.seconds, options.turns)
        print(f"{name:28}{before:12.2f}{after:8.2f}{after / before:8.2f}{difference:14.1e}", flush=True)


def _race(filters: int, dimension: int, card: int, seconds: int, turns: int) -> tuple[float, float, float]:
    """Seconds of audiocraft's decoder and of ours, and the largest difference over the largest sample."""
    torch.manual_seed(0)
    config = configs.codec(filters, dimension, card)
    theirs = adapter.build_codec(config).eval()
    for name, tensor in theirs.state_dict().items():
        if name.endswith(".embed"):
            tensor.normal_()
    ours = encodec_formats.from_audiocraft(parse(OmegaConf.to_yaml(config)), theirs.state_dict(), torch.device("cpu"))
    tokens = torch.randint(0, card, (1, 4, seconds * ours.frame_rate))

    def decoded() -> torch.Tensor:
        return torch.cat(list(ours.stream([tokens], [])), dim=-1)

    expected = theirs.decode(tokens)
    difference = float((decoded() - expected).abs().max() / expected.abs().max())
    costs = [(_processor_time(lambda: theirs.decode(tokens)), _processor_time(decoded)) for _ in range(turns)]
    before, after = (min(column) for column in zip(*costs, strict=True))
    return before, after, difference


def _processor_time(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


if __name__ == "__main__":
    main()
