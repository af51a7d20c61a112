"""Sequences that tests submit to an engine."""

from collections.abc import Callable, Generator
from typing import Any

import torch

from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest

TEXT = Condition("rock song with guitar")


def request(seed: int, length: int = 60, prefix: int = 0, condition: Condition = TEXT, **sampling: Any) -> SlotRequest:
    tokens = torch.randint(0, 128, (4, prefix), generator=torch.Generator().manual_seed(seed)) if prefix else None
    return SlotRequest(condition, tokens, length, Sampling(**sampling), torch.Generator().manual_seed(seed))


def generated(
    engine: Engine, asked: SlotRequest, on_step: Callable[[int, int], None] = lambda *_: None
) -> torch.Tensor:
    [tokens] = engine.generate_many([asked], on_step)
    return tokens


def has_waiting(engine: Engine, count: int) -> bool:
    return engine.load.waiting == count


def streamed(engine: Engine, asked: SlotRequest, chunk: int = 1) -> Generator[torch.Tensor, None, list[torch.Tensor]]:
    """The tokens of a request, while they are generated."""
    return engine.stream([asked], lambda *_: None, chunk)
