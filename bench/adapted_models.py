"""How soon a model with an adapter is there, how fast its steps are, and how exact, beside its base.

    python -m bench.adapted_models

An adapter with random weights, of the default rank and targets; `small` has random weights, too. Steps of the base and
of the model with the adapter are measured in turns, in milliseconds of processor time, of which the least counts.
Logits are compared with PEFT's in float64, too: in float32 both round, PEFT's as much as the engine's.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench import implementations, machine
from musicgen_service import threads
from musicgen_service.engine import weights
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.engine.linear import AdaptedLinear, DenseLinear, Linear
from musicgen_service.engine.precision import Numerics, Precision
from musicgen_service.models import loading, state
from musicgen_service.models.adapters import AdapterStore
from musicgen_service.models.conditioner import PREFIX
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore
from musicgen_service.training import base, objective, options
from musicgen_service.training.base import Base
from musicgen_service.training.network import PeftModel
from tests.support import adapters as random_adapters

import torch

TEXT = "a slow rock song with guitar and drums , 90 bpm"
_CPU = torch.device("cpu")
_TURNS = 5
_SCORED_FRAMES = 100
_DEVIATION = 0.02  # of the adapter's weights: its effect is as large as that of a trained one


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=("demo", "small"), default=["demo", "small"])
    parser.add_argument("--frames", type=int, default=100, help="of a clip whose steps are timed (default %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(threads.limit())
    print(machine.describe(_CPU))
    print(f"python -m bench.adapted_models {' '.join(sys.argv[1:])}".rstrip())
    for name in arguments.models:
        with _store(name) as store:
            _measure(name, store, arguments.frames)


@contextmanager
def _store(name: str) -> Iterator[WeightStore]:
    """A weights folder with that checkpoint, to put adapters into."""
    if name == "small":
        with implementations.random_store("small") as store:
            yield store
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).symlink_to(WeightStore.from_environment().path(name).resolve())
        yield WeightStore(Path(folder))


def _measure(name: str, store: WeightStore, frames: int) -> None:
    values = options.defaults(name)
    lora = random_adapters.random_lora(store, name, 1, values["targets"], values["rank"], values["alpha"], _DEVIATION)
    random_adapters.add(store, "random", lora)
    loaded = base.load(store, name, _CPU)
    plain, files, adapters = loaded.model, loaded.files, AdapterStore.of(store)

    def adapted(strength: float) -> MusicGenModel:
        return loading.load_adapted(plain, files, adapters.apply([("random", strength)], name), "random")

    print(f"\n{name}: adapter of {adapters.get('random').size / 1e6:.2f} MB")
    _milliseconds(plain, frames)
    clock, processor = zip(*(_seconds(lambda: adapted(1.0)) for _ in range(_TURNS)), strict=True)
    _row("until it is there, median", f"{statistics.median(clock):.2f} s ({min(processor):.2f} s of processor time)")
    whole = adapted(1.0)
    turns = [(_milliseconds(plain, frames), _milliseconds(whole, frames)) for _ in range(_TURNS)]
    ours, theirs = (min(times) for times in zip(*turns, strict=True))
    _row("a step: base, with the adapter", f"{ours:.1f}, {theirs:.1f} ms of processor time ({theirs / ours:.2f} times)")
    same = torch.equal(_tokens(plain, frames), _tokens(adapted(0.0), frames))
    _row("strength 0: the base's tokens", "all of them" if same else "NOT all of them")
    with lora.disable_adapter():
        _row("largest difference of a logit: base", _difference(plain, lora, loaded, torch.float32))
    _row("the same with the adapter, to PEFT's", _difference(whole, lora, loaded, torch.float32))
    applied = adapters.apply([("random", 1.0)], name)
    exact = loading.load_adapted(_in_float64(loaded), files, applied, "random")
    _row("the same, both in float64", _difference(exact, lora.double(), loaded, torch.float64))


class _Float64(Numerics):
    """Everything in float64, to tell rounding from faults."""

    @property
    def dtype(self) -> torch.dtype:
        """See `Numerics`."""
        return torch.float64

    def pack_weight(self, weight: torch.Tensor) -> Linear:
        """See `Numerics`."""
        return DenseLinear(weight.double())

    pack_unquantised = pack_weight

    def add_product(self, linear: Linear, down: torch.Tensor, up: torch.Tensor) -> Linear:
        """See `Numerics`; the sum of a `DenseLinear` would round to float32."""
        return AdaptedLinear(linear, down, up, self.pack_weight)


def _in_float64(loaded: Base) -> MusicGenModel:
    """The same model with an engine that computes in float64; its logits are float32 at last."""
    numerics = _Float64(Precision.EXACT, _CPU)
    stored = {name: tensor for name, tensor in loaded.stored.items() if not name.startswith(PREFIX)}
    take = state.TensorTaker(stored, _CPU)
    packed = weights.build(loaded.config.decoder, take, numerics.pack_weight, numerics.pack_weight, numerics.dtype)
    assert isinstance(loaded.model.generator, Engine)
    engine = Engine(packed, loaded.config.delays, loaded.model.generator.to_tensors, numerics)
    return replace(loaded.model, generator=engine)


@torch.no_grad()
def _difference(model: MusicGenModel, network: PeftModel, loaded: Base, dtype: torch.dtype) -> str:
    """How far the engine's logits for random tokens are from those of transformers' network."""
    shape = loaded.config.decoder
    tokens = torch.randint(shape.card, (shape.codebooks, _SCORED_FRAMES), generator=torch.Generator().manual_seed(0))
    columns = objective.arrange(loaded.pattern, tokens[None])[..., :-1]
    with tempfile.TemporaryDirectory() as folder:
        logits = network(columns, base.Conditions(loaded, Path(folder)).row(TEXT).to(dtype))
    theirs = objective.frame_logits(loaded.pattern, logits, _SCORED_FRAMES)[0]
    assert isinstance(model.generator, Engine)
    ours = model.generator.score(Condition(TEXT), tokens, 1.0)
    return f"{(ours - theirs).abs().max():.1e} of up to {theirs.abs().max():.1f}"


def _seconds(action: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of processor time."""
    clock, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - clock, time.process_time() - processor


def _milliseconds(model: MusicGenModel, frames: int) -> float:
    return 1000 * _seconds(lambda: _tokens(model, frames))[1] / frames


def _tokens(model: MusicGenModel, frames: int) -> torch.Tensor:
    request = SlotRequest(Condition(TEXT), None, frames, Sampling(), torch.Generator().manual_seed(1))
    [tokens] = model.generate_tokens([request], lambda _done, _total: None)
    return tokens


def _row(name: str, value: str) -> None:
    print(f"  {name:40}{value}", flush=True)


if __name__ == "__main__":
    main()
