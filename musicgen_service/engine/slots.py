"""Slots: independent sequences that share every step and are admitted and released between steps."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from musicgen_service.engine.attention import Attention, BatchedAttention, PerSlotAttention, PrefillAttention
from musicgen_service.engine.cache import CacheShape, KeyValueCache
from musicgen_service.engine.cuda_graph import StepGraphs
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.interface import ConditionTensors, Sampling
from musicgen_service.engine.pattern import UNKNOWN, DelayPattern
from musicgen_service.engine.sampling import Controls, draw, guide

BLOCK = 256
"""Granularity, in positions, of buffer sizes and of the span that a GPU step reads."""


class Buffers:
    """The tensors of a number of slots, at fixed addresses.

    Parameters
    ----------
    slots : number of slots
    capacity : positions per slot, prefix and columns together
    text_capacity : text positions per slot
    text_rows : rows per slot that read text; 2 when there are negative texts
    """

    def __init__(self, decoder: Decoder, slots: int, capacity: int, text_capacity: int, text_rows: int) -> None:
        weights, device = decoder.weights, decoder.device
        heads, width = weights.attention_heads, weights.dim // weights.attention_heads
        shape = CacheShape(len(weights.layers), slots, 2, heads, capacity, width)
        text_shape = CacheShape(len(weights.layers), slots, text_rows, heads, text_capacity, width)
        self.cache = KeyValueCache(shape, decoder.dtype, device)
        sees_text = weights.layers[0].cross is not None
        self.text = KeyValueCache(text_shape, decoder.dtype, device) if sees_text else None
        self.tokens = torch.zeros(slots, weights.codebooks, capacity, dtype=torch.int64, device=device)
        self.noise = torch.ones(slots, weights.codebooks, weights.card, device=device)
        self.controls = Controls.create(slots, device)
        self.text_lengths = torch.zeros(slots, text_rows, dtype=torch.int64, device=device)
        counters = torch.zeros(3, slots, dtype=torch.int64, device=device)
        self.column, self.position, self.active = counters.unbind(0)
        self.graphs = StepGraphs(device)

    def fits(self, slots: int, capacity: int, text_capacity: int, text_rows: int) -> bool:
        """Whether these buffers satisfy the given sizes."""
        text_fits = self.text is None or (
            self.text.shape.capacity >= text_capacity and self.text.shape.rows == text_rows
        )
        return self.cache.shape.slots == slots and self.cache.shape.capacity >= capacity and text_fits


@dataclass
class _Sequence:
    """Host-side state of a running slot, kept so that the host never has to query the device."""

    length: int
    """Frames."""
    steps_left: int
    kv_length: int
    """Positions in the cache."""
    text_lengths: tuple[int, ...]
    sampling: Sampling
    generator: torch.Generator


class Slots:
    """Sequences in progress.

    Parameters
    ----------
    decoder, pattern : of the model
    buffers : hold the sequences; their previous contents are lost
    """

    def __init__(self, decoder: Decoder, pattern: DelayPattern, buffers: Buffers) -> None:
        self._decoder = decoder
        self._pattern = pattern
        self._buffers = buffers
        self._sequences: dict[int, _Sequence] = {}
        buffers.active.zero_()
        buffers.column.zero_()
        buffers.position.zero_()

    @torch.inference_mode()
    def admit(
        self,
        slot: int,
        condition: ConditionTensors,
        prefix_tokens: torch.Tensor | None,
        length: int,
        sampling: Sampling,
        generator: torch.Generator,
    ) -> int:
        """Start a sequence in a free slot and prefill its condition and tokens.

        Returns
        -------
        The number of steps that it will take.
        """
        prefix_frames = 0 if prefix_tokens is None else prefix_tokens.shape[-1]
        if slot in self._sequences or prefix_frames >= length:
            raise ValueError(f"slot {slot} is taken, or its prefix ({prefix_frames}) is not shorter than {length}")
        buffers = self._buffers
        layout = self._pattern.layout(prefix_tokens, length)
        buffers.tokens[slot, :, : layout.shape[1]] = layout.to(self._decoder.device)
        if self._decoder.device.type == "cuda":
            for cache in filter(None, (buffers.cache, buffers.text)):
                cache.clear(slot)
        kv_length = self._prefill(slot, condition, prefix_frames).shape[0] // 2
        buffers.controls.set(slot, sampling)
        buffers.column[slot] = prefix_frames
        buffers.position[slot] = kv_length
        buffers.text_lengths[slot] = 0
        for row, text_length in enumerate(condition.text_lengths):
            buffers.text_lengths[slot, row] = text_length
        buffers.active[slot] = 1
        steps = self._pattern.columns(length) - 1 - prefix_frames
        self._sequences[slot] = _Sequence(length, steps, kv_length, condition.text_lengths, sampling, generator)
        return steps

    @torch.inference_mode()
    def step(self) -> list[int]:
        """Generate the next column of every running slot.

        Returns
        -------
        The slots that are now complete; they stay occupied until they are released.
        """
        sequences = {slot: sequence for slot, sequence in self._sequences.items() if sequence.steps_left}
        count = 1 + max(sequences)
        for slot, sequence in sequences.items():
            sequence.kv_length += 1
            sequence.steps_left -= 1
            if sequence.sampling.temperature > 0:
                self._buffers.noise[slot].exponential_(1, generator=sequence.generator)
        samplings = [sequence.sampling for sequence in sequences.values()]
        max_top_k = max(sampling.top_k for sampling in samplings)
        uses_top_p = any(sampling.top_p > 0 for sampling in samplings)
        if self._decoder.device.type == "cuda":
            self._step_on_gpu(count, max(sequence.kv_length for sequence in sequences.values()), max_top_k, uses_top_p)
        else:
            lengths = [sequences[slot].kv_length if slot in sequences else 0 for slot in range(count)]
            texts = [sequences[slot].text_lengths if slot in sequences else () for slot in range(count)]
            attention = PerSlotAttention(self._buffers.cache, self._buffers.text, lengths, texts)
            self._decode_step(count, attention, max_top_k, uses_top_p)
        complete = [slot for slot, sequence in sequences.items() if not sequence.steps_left]
        for slot in complete:
            self._deactivate(slot)
        return complete

    def tokens(self, slot: int, start: int = 0) -> torch.Tensor:
        """Return the frames int64 [codebooks, frames] that a slot has so far, from `start` on."""
        sequence = self._sequences[slot]
        known = max(0, sequence.length - sequence.steps_left)
        return self._pattern.frames(self._buffers.tokens[slot], known)[:, start:].clone()

    @torch.inference_mode()
    def score(self, condition: ConditionTensors, tokens: torch.Tensor, guidance: float) -> torch.Tensor:
        """Compute the logits of given tokens in slot 0; see `Engine.score`."""
        length = tokens.shape[-1]
        layout = self._pattern.layout(tokens, length)
        columns = layout.shape[1] - 1
        self._buffers.tokens[0, :, : columns + 1] = layout.to(self._decoder.device)
        hidden = self._prefill(0, condition, columns)
        logits = self._decoder.logits(hidden).view(2, -1, *self._buffers.noise.shape[1:])[:, -columns:]
        guided = guide(logits[0], logits[1], guidance)
        # The logits of a column predict the next one, whereas `frames` expects those of the column itself.
        following = torch.cat([guided[:1], guided]).transpose(0, 1)
        return self._pattern.frames(following, length)

    def release(self, slot: int) -> None:
        """Free a slot, complete or not."""
        del self._sequences[slot]
        self._deactivate(slot)

    def _deactivate(self, slot: int) -> None:
        for counter in (self._buffers.active, self._buffers.column, self._buffers.position):
            counter[slot] = 0

    def _prefill_texts(self, slot: int, texts: Sequence[torch.Tensor]) -> None:
        cache = self._buffers.text
        assert cache is not None
        for row, text in enumerate(texts):
            for index, layer in enumerate(self._decoder.weights.layers):
                assert layer.cross is not None
                both = layer.cross.keys_values(text.to(self._decoder.dtype))
                split = both.view(1, text.shape[0], 2, cache.shape.heads, cache.shape.width)
                cache.write(index, slot, split.permute(0, 2, 3, 1, 4), row)

    def _prefill(self, slot: int, condition: ConditionTensors, columns: int) -> torch.Tensor:
        """Pass the text, the prefix and the first columns of a slot through the network at once.

        Returns
        -------
        float tensor [2 * positions, dim], the conditional row's positions first
        """
        if condition.texts:
            self._prefill_texts(slot, condition.texts)
        parts = [] if condition.prefix is None else [condition.prefix.to(self._decoder.dtype)]
        if columns:
            embedded = self._decoder.embed(self._buffers.tokens[slot, :, :columns].T)
            parts.append(embedded.expand(2, -1, -1))
        if not parts:
            return self._decoder.position_embedding(torch.empty(0, dtype=torch.int64, device=self._decoder.device))
        x = torch.cat(parts, dim=1)
        positions = torch.arange(x.shape[1], device=x.device)
        x = x + self._decoder.position_embedding(positions)
        attention = PrefillAttention(self._buffers.cache, self._buffers.text, slot, condition.text_lengths)
        return self._decoder.forward(x.flatten(0, 1), attention)

    def _step_on_gpu(self, count: int, kv_length: int, max_top_k: int, uses_top_p: bool) -> None:
        buffers = self._buffers
        # Rounded to a few sizes, so that a few captured graphs cover every step.
        count = min(1 << (count - 1).bit_length(), buffers.cache.shape.slots)
        span = min(-(-kv_length // BLOCK) * BLOCK, buffers.cache.shape.capacity)
        max_top_k = max_top_k and self._decoder.weights.card

        def step() -> None:
            attention = BatchedAttention(
                buffers.cache, buffers.text, buffers.position[:count], buffers.text_lengths[:count], span
            )
            self._decode_step(count, attention, max_top_k, uses_top_p)

        buffers.graphs.run((count, span, max_top_k, uses_top_p), step)

    def _decode_step(self, count: int, attention: Attention, max_top_k: int, uses_top_p: bool) -> None:
        """Run one step of the first `count` slots, on tensors of fixed shape and address and without the host."""
        buffers, decoder = self._buffers, self._decoder
        tokens, column, position = buffers.tokens[:count], buffers.column[:count], buffers.position[:count]
        here = column[:, None, None].expand(-1, tokens.shape[1], 1)
        x = decoder.embed(tokens.gather(2, here)[..., 0]) + decoder.position_embedding(position)
        hidden = decoder.forward(x.repeat_interleave(2, 0), attention)
        controls = buffers.controls.first(count)
        logits = decoder.logits(hidden).view(count, 2, *buffers.noise.shape[1:])
        guided = guide(logits[:, 0], logits[:, 1], controls.guidance)
        drawn = draw(guided, buffers.noise[:count], controls, max_top_k, uses_top_p)
        following = tokens.gather(2, here + 1)
        tokens.scatter_(2, here + 1, torch.where(following == UNKNOWN, drawn[..., None], following))
        column += buffers.active[:count]
        position += buffers.active[:count]
