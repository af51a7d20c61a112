"""Slots: independent sequences that share every step, and join and leave between steps."""

from dataclasses import dataclass

import torch

from musicgen_service.engine.cache import CacheShape, KeyValueCache
from musicgen_service.engine.cuda_graph import StepGraphs
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.interface import Conditioning, Sampling
from musicgen_service.engine.memory import Exact, Filling, Masked, Memory
from musicgen_service.engine.pattern import UNKNOWN, DelayPattern
from musicgen_service.engine.sampling import Controls, draw, guide

BLOCK = 256
"""Positions that buffers grow by, and that a GPU step reads at a time."""


class Buffers:
    """The tensors of a number of slots, in one place for as long as they live.

    Parameters
    ----------
    slots : how many
    capacity : positions in each, prefix and columns together
    text_capacity : positions of text in each
    """

    def __init__(self, decoder: Decoder, slots: int, capacity: int, text_capacity: int) -> None:
        weights, device = decoder.weights, decoder.device
        heads, width = weights.attention_heads, weights.dim // weights.attention_heads
        shape = CacheShape(len(weights.layers), slots, 2, heads, capacity, width)
        text_shape = CacheShape(len(weights.layers), slots, 1, heads, text_capacity, width)
        self.cache = KeyValueCache(shape, decoder.dtype, device)
        sees_text = weights.layers[0].cross is not None
        self.text = KeyValueCache(text_shape, decoder.dtype, device) if sees_text else None
        self.tokens = torch.zeros(slots, weights.codebooks, capacity, dtype=torch.int64, device=device)
        self.noise = torch.ones(slots, weights.codebooks, weights.card, device=device)
        self.controls = Controls.create(slots, device)
        counters = torch.zeros(4, slots, dtype=torch.int64, device=device)
        self.column, self.position, self.text_length, self.running = counters.unbind(0)
        self.graphs = StepGraphs(device)

    def fits(self, slots: int, capacity: int, text_capacity: int) -> bool:
        """Whether these can be used where such sizes are needed."""
        text_fits = self.text is None or self.text.shape.capacity >= text_capacity
        return self.cache.shape.slots == slots and self.cache.shape.capacity >= capacity and text_fits


@dataclass
class _Run:
    """What the host knows of a running slot, so that it never has to ask the device."""

    length: int
    """Frames."""
    steps_left: int
    held: int
    """Positions in the cache."""
    text_length: int
    sampling: Sampling
    generator: torch.Generator


class Slots:
    """Sequences in progress.

    Parameters
    ----------
    decoder, pattern : of the model
    buffers : where the sequences live; what was in them is lost
    """

    def __init__(self, decoder: Decoder, pattern: DelayPattern, buffers: Buffers) -> None:
        self._decoder = decoder
        self._pattern = pattern
        self._buffers = buffers
        self._runs: dict[int, _Run] = {}
        buffers.running.zero_()
        buffers.column.zero_()
        buffers.position.zero_()

    @property
    def running(self) -> list[int]:
        """Slots with a sequence in them."""
        return sorted(self._runs)

    @torch.inference_mode()
    def join(
        self,
        slot: int,
        conditioning: Conditioning,
        prompt: torch.Tensor | None,
        length: int,
        sampling: Sampling,
        generator: torch.Generator,
    ) -> int:
        """Start a sequence in a free slot: take in its prefix and its prompt.

        Returns
        -------
        the steps that it will take
        """
        prompt_length = 0 if prompt is None else prompt.shape[-1]
        if slot in self._runs or prompt_length >= length:
            raise ValueError(f"slot {slot} is taken, or its prompt ({prompt_length}) is not shorter than {length}")
        buffers = self._buffers
        layout = self._pattern.layout(prompt, length)
        buffers.tokens[slot, :, : layout.shape[1]] = layout.to(self._decoder.device)
        held = self._take_in(slot, conditioning, prompt_length).shape[0] // 2
        buffers.controls.set(slot, sampling)
        buffers.column[slot] = prompt_length
        buffers.position[slot] = held
        buffers.text_length[slot] = conditioning.text_length
        buffers.running[slot] = 1
        steps = self._pattern.columns(length) - 1 - prompt_length
        self._runs[slot] = _Run(length, steps, held, conditioning.text_length, sampling, generator)
        return steps

    @torch.inference_mode()
    def step(self) -> list[int]:
        """Give every running slot its next column.

        Returns
        -------
        the slots that are complete with it; they stay until they `leave`
        """
        runs = {slot: run for slot, run in self._runs.items() if run.steps_left}
        count = 1 + max(runs)
        for slot, run in runs.items():
            run.held += 1
            run.steps_left -= 1
            if run.sampling.temperature > 0:
                self._buffers.noise[slot].exponential_(1, generator=run.generator)
        samplings = [run.sampling for run in runs.values()]
        most = max(sampling.top_k for sampling in samplings)
        nucleus = any(sampling.top_p > 0 for sampling in samplings)
        if self._decoder.device.type == "cuda":
            self._step_on_gpu(count, max(run.held for run in runs.values()), most, nucleus)
        else:
            lengths = [runs[slot].held if slot in runs else 0 for slot in range(count)]
            texts = [runs[slot].text_length if slot in runs else 0 for slot in range(count)]
            memory = Exact(self._buffers.cache, self._buffers.text, lengths, texts)
            self._advance(count, memory, most, nucleus)
        complete = [slot for slot, run in runs.items() if not run.steps_left]
        for slot in complete:
            self._stop(slot)
        return complete

    def tokens(self, slot: int, start: int = 0) -> torch.Tensor:
        """The frames int64 [codebooks, frames] that a slot has so far, from `start` on."""
        run = self._runs[slot]
        known = max(0, run.length - run.steps_left)
        return self._pattern.frames(self._buffers.tokens[slot], known)[:, start:].clone()

    @torch.inference_mode()
    def score(self, conditioning: Conditioning, tokens: torch.Tensor, guidance: float) -> torch.Tensor:
        """What the network would have drawn given tokens from: see `Engine.score`; takes slot 0."""
        length = tokens.shape[-1]
        layout = self._pattern.layout(tokens, length)
        columns = layout.shape[1] - 1
        self._buffers.tokens[0, :, : columns + 1] = layout.to(self._decoder.device)
        hidden = self._take_in(0, conditioning, columns)
        logits = self._decoder.logits(hidden).view(2, -1, *self._buffers.noise.shape[1:])[:, -columns:]
        guided = guide(logits[0], logits[1], guidance)
        # The logits of a column are about the next one, and `frames` looks for a column's own.
        following = torch.cat([guided[:1], guided]).transpose(0, 1)
        return self._pattern.frames(following, length)

    def leave(self, slot: int) -> None:
        """Free a slot, complete or not."""
        del self._runs[slot]
        self._stop(slot)

    def _stop(self, slot: int) -> None:
        for counter in (self._buffers.running, self._buffers.column, self._buffers.position):
            counter[slot] = 0

    def _take_in_text(self, slot: int, text: torch.Tensor) -> None:
        cache = self._buffers.text
        assert cache is not None
        for index, layer in enumerate(self._decoder.weights.layers):
            assert layer.cross is not None
            both = layer.cross.keys_values(text.to(self._decoder.dtype))
            split = both.view(1, text.shape[0], 2, cache.shape.heads, cache.shape.width)
            cache.fill(index, slot, split.permute(0, 2, 3, 1, 4))

    def _take_in(self, slot: int, conditioning: Conditioning, columns: int) -> torch.Tensor:
        """Pass the text, the prefix and the first columns of a slot through the network, all at once.

        Returns
        -------
        float tensor [2 * positions, dim], the conditional row's positions first
        """
        if conditioning.text is not None:
            self._take_in_text(slot, conditioning.text)
        parts = [] if conditioning.prefix is None else [conditioning.prefix.to(self._decoder.dtype)]
        if columns:
            embedded = self._decoder.embed(self._buffers.tokens[slot, :, :columns].T)
            parts.append(embedded.expand(2, -1, -1))
        if not parts:
            return self._decoder.at(torch.empty(0, dtype=torch.int64, device=self._decoder.device))
        x = torch.cat(parts, dim=1)
        positions = torch.arange(x.shape[1], device=x.device)
        x = x + self._decoder.at(positions)
        filling = Filling(self._buffers.cache, self._buffers.text, slot, conditioning.text_length)
        return self._decoder.run(x.flatten(0, 1), filling)

    def _step_on_gpu(self, count: int, held: int, most: int, nucleus: bool) -> None:
        buffers = self._buffers
        # A few sizes of each, so that a few captured graphs serve every step.
        count = min(1 << (count - 1).bit_length(), buffers.cache.shape.slots)
        reach = min(-(-held // BLOCK) * BLOCK, buffers.cache.shape.capacity)
        most = most and self._decoder.weights.card

        def step() -> None:
            memory = Masked(buffers.cache, buffers.text, buffers.position[:count], buffers.text_length[:count], reach)
            self._advance(count, memory, most, nucleus)

        buffers.graphs.run((count, reach, most, nucleus), step)

    def _advance(self, count: int, memory: Memory, most: int, nucleus: bool) -> None:
        """One step of the first `count` slots: tensors of fixed shape and place, and nothing on the host."""
        buffers, decoder = self._buffers, self._decoder
        tokens, column, position = buffers.tokens[:count], buffers.column[:count], buffers.position[:count]
        here = column[:, None, None].expand(-1, tokens.shape[1], 1)
        x = decoder.embed(tokens.gather(2, here)[..., 0]) + decoder.at(position)
        hidden = decoder.run(x.repeat_interleave(2, 0), memory)
        controls = buffers.controls.first(count)
        logits = decoder.logits(hidden).view(count, 2, *buffers.noise.shape[1:])
        guided = guide(logits[:, 0], logits[:, 1], controls.guidance)
        drawn = draw(guided, buffers.noise[:count], controls, most, nucleus)
        following = tokens.gather(2, here + 1)
        tokens.scatter_(2, here + 1, torch.where(following == UNKNOWN, drawn[..., None], following))
        column += buffers.running[:count]
        position += buffers.running[:count]
