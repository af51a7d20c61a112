"""Steps per second and memory of training an adapter, for a base of a released size with random weights.

    python -m bench.training_steps --size medium --steps 100

Clips are as long as the model's window and their tokens random: neither time nor memory depends on what they hold. The
steps are those of `musicgen train` with its defaults for that base: two clips, and one on which the base is kept.
"""

import argparse
import tempfile
import time
from pathlib import Path

from bench import implementations, machine
from musicgen_service.engine.pattern import DelayPattern
from musicgen_service.models.checkpoint_config import LanguageModelConfig, parse
from musicgen_service.training import network, options
from musicgen_service.training.batches import Row
from musicgen_service.training.trainer import Trainer
from tests.support import checkpoints

import torch
from omegaconf import OmegaConf

WINDOW = 30.0
FRAME_RATE = 50
TEXT_LENGTH = 12
_WARM_UP = 3


class RandomRows:
    """Rows of random tokens, in the place of `Batches`."""

    def __init__(self, config: LanguageModelConfig, chosen: options.Options, device: torch.device) -> None:
        shape = config.decoder
        frames = round(chosen.crop * FRAME_RATE)
        self._count = chosen.batch
        self._tokens = torch.randint(shape.card, (1, shape.codebooks, frames), device=device)
        self._condition = torch.randn(1, TEXT_LENGTH, shape.dim, device=device)

    def of_step(self, _step: int) -> list[Row]:
        """See `Batches`."""
        return [*(self.row() for _ in range(self._count)), self.row(is_kept=True)]

    def row(self, *, is_kept: bool = False) -> Row:
        """A row."""
        return Row(self._tokens, self._tokens, self._condition, is_kept)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=implementations.SIZES, default="medium")
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    sizes = implementations.SIZES[arguments.size]
    config = LanguageModelConfig.read(
        parse(OmegaConf.to_yaml(checkpoints.lm_config(sizes, stereo=False, melody=False, card=2048, window=WINDOW)))
    )
    base = arguments.size if arguments.size in options.OF_BASES else "small"
    given = {"name": "random", "base": base, "trigger": "a trigger", "steps": arguments.steps}
    chosen = options.Options(**(options.defaults(base) | given))
    model = network.with_adapter(_network(config, device), chosen.rank, chosen.alpha, chosen.targets)
    if chosen.checkpointing:
        network.save_memory(model)
    rows = RandomRows(config, chosen, device)
    stamps: list[float] = []

    def on_step(_step: int, _loss: float) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()
        stamps.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        pattern = DelayPattern(config.delays, config.decoder.card)
        trainer = Trainer(model, pattern, chosen, rows, [rows.row()], FRAME_RATE, Path(folder) / "checkpoint.pt")  # type: ignore[arg-type]
        trainer.run(on_step, lambda: None)
    losses = [loss for _step, loss in trainer.history.steps]
    steps = len(stamps) - _WARM_UP
    rate = steps / (stamps[-1] - stamps[_WARM_UP - 1])
    print(f"{arguments.size}, {chosen.batch} + 1 clips of {chosen.crop:.0f} s; {machine.describe(device)}")
    print(f"python -m bench.training_steps --size {arguments.size} --steps {arguments.steps}")
    print(
        f"{rate:.2f} steps a second over {steps} steps; loss {losses[0]:.3f} at the first, {losses[-1]:.3f} at the last"
    )
    if device.type == "cuda":
        print(f"at most {torch.cuda.max_memory_allocated() / 1e9:.1f} GB allocated,", end=" ")
        print(f"{torch.cuda.max_memory_reserved() / 1e9:.1f} GB reserved")


def _network(config: LanguageModelConfig, device: torch.device) -> network.Network:
    """The decoder with random weights, drawn where they are used: a GPU draws billions in seconds."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    with torch.device("meta"):
        decoder = network.empty(config)
    decoder = decoder.to(dtype).to_empty(device=device)
    for parameter in decoder.parameters():
        parameter.data.normal_(std=0.02)
    positions = decoder.model.decoder.embed_positions
    positions.weights = positions.get_embedding(2048, config.decoder.dim).to(device, dtype)
    return network.Network(decoder.requires_grad_(False), "facebook/musicgen-medium")


if __name__ == "__main__":
    main()
