"""What the steps of a CPU predict for given tokens."""

import torch

from musicgen_service.engine.buffers import BLOCK, Buffers
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.interface import ConditionTensors, Sampling
from musicgen_service.engine.pattern import DelayPattern
from musicgen_service.engine.sampling import guide
from musicgen_service.engine.slots import Slots


class _RecordingDecoder(Decoder):
    """Keeps the logits of every step."""

    def __init__(self, decoder: Decoder) -> None:
        # Everything is shared: to prepare the weights for a compiled step again would take longer than many steps.
        vars(self).update(vars(decoder))
        self.recorded: list[torch.Tensor] = []

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """See `Decoder.logits`."""
        found = super().logits(x)
        self.recorded.append(found)
        return found


def step_scores(
    decoder: Decoder, pattern: DelayPattern, condition: ConditionTensors, tokens: torch.Tensor, guidance: float
) -> torch.Tensor:
    """Compute the logits of given tokens by one step after the other; see `Engine.step_scores`."""
    frames = tokens.shape[1]
    recording = _RecordingDecoder(decoder)
    capacity = -(-(condition.prefix_length + pattern.columns(frames)) // BLOCK) * BLOCK
    recording.reserve_positions(capacity)
    text_capacity, text_rows = max(condition.text_lengths, default=1), max(len(condition.texts), 1)
    slots = Slots(recording, pattern, Buffers(recording, 1, capacity, text_capacity, text_rows))
    slots.admit(0, condition, None, frames, Sampling(guidance=guidance), torch.Generator())
    while not slots.prefill(0):
        pass
    layout = pattern.layout(tokens, frames)
    # A step draws no token where there is one.
    slots.buffers.tokens[0, :, : layout.shape[1]] = layout
    while not slots.step():
        pass
    guided = [found[0] if len(found) == 1 else guide(found[0], found[1], guidance) for found in recording.recorded]
    # Logits are those of the next column, whereas `frames` expects those of the column itself.
    return pattern.frames(torch.stack([guided[0], *guided], dim=1), frames)
