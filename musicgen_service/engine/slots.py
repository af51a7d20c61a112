"""Slots: independent sequences that share every step and are admitted and released between steps."""

import math
from dataclasses import dataclass, field, replace

import torch

from musicgen_service.engine.attention import PerSlotAttention, SlotRows
from musicgen_service.engine.buffers import Buffers
from musicgen_service.engine.compact_attention import CompactAttention
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.gpu_step import StepShape
from musicgen_service.engine.interface import ConditionTensors, Sampling
from musicgen_service.engine.pattern import UNKNOWN, DelayPattern
from musicgen_service.engine.prefill import Prefill
from musicgen_service.engine.sampling import draw, guide


@dataclass
class _Sequence:
    """Host-side state of an occupied slot, kept so that the host never has to query the device."""

    layout: torch.Tensor
    """Its columns before generation, on the CPU."""
    length: int
    """Frames."""
    steps_left: int
    kv_length: int
    """Positions in the cache."""
    rows: int
    text_lengths: tuple[int, ...]
    sampling: Sampling
    generator: torch.Generator
    prefill: Prefill | None
    """What is left to prefill before the first step."""
    scored_from: int | None = None
    """The first column whose hidden state gives logits that are wanted, where all its tokens are given."""
    scores: list[torch.Tensor] = field(default_factory=list)
    """Guided logits [columns, codebooks, card] of consecutive columns, from `scored_from` on."""


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
        self.buffers = buffers
        # A GPU computes all slots up to the last running one, as a captured step has a fixed shape.
        self.is_dense = decoder.device.type == "cuda"
        self._sequences: dict[int, _Sequence] = {}
        buffers.active.zero_()
        buffers.column.zero_()
        buffers.position.zero_()

    @property
    def count(self) -> int:
        """Number of slots."""
        return self.buffers.cache.shape.slots

    @property
    def free(self) -> list[int]:
        """The free slots, the lowest first."""
        return [slot for slot in range(self.count) if slot not in self._sequences]

    @property
    def is_running(self) -> bool:
        """Whether any slot takes part in the next step."""
        return any(sequence.prefill is None and sequence.steps_left for sequence in self._sequences.values())

    @torch.inference_mode()
    def admit(
        self,
        slot: int,
        condition: ConditionTensors,
        prefix_tokens: torch.Tensor | None,
        length: int,
        sampling: Sampling,
        generator: torch.Generator,
    ) -> None:
        """Put a sequence into a free slot; it runs once it is prefilled."""
        prefix_frames = 0 if prefix_tokens is None else prefix_tokens.shape[-1]
        if slot in self._sequences or prefix_frames >= length:
            raise ValueError(f"slot {slot} is taken, or its prefix ({prefix_frames}) is not shorter than {length}")
        # With guidance 1 the unconditional row has no effect.
        rows = 1 if sampling.guidance == 1 else 2
        condition = replace(condition, texts=condition.texts[:rows])
        layout = self._pattern.layout(prefix_tokens, length)
        prefill = self._start_prefill(slot, condition, layout[:, :prefix_frames], rows)
        # A step on a GPU writes keys and values of slots that are not running yet, too: after what is prefilled.
        self.buffers.position[slot] = prefill.length
        steps = self._pattern.columns(length) - 1 - prefix_frames
        self._sequences[slot] = _Sequence(
            layout, length, steps, prefill.length, rows, condition.text_lengths, sampling, generator, prefill
        )

    @torch.inference_mode()
    def admit_given(
        self, slot: int, condition: ConditionTensors, tokens: torch.Tensor | None, guidance: float, start: int
    ) -> None:
        """Put given tokens into a free slot, to be scored from a frame on: complete once it is prefilled."""
        length = 0 if tokens is None else tokens.shape[-1]
        if slot in self._sequences or not 0 <= start < length:
            raise ValueError(f"slot {slot} is taken, or there is no frame {start} among {length}")
        rows = 1 if guidance == 1 else 2
        condition = replace(condition, texts=condition.texts[:rows])
        layout = self._pattern.layout(tokens, length)
        # The last column predicts nothing.
        prefill = self._start_prefill(slot, condition, layout[:, :-1], rows)
        self.buffers.position[slot] = prefill.length
        self._sequences[slot] = _Sequence(
            layout,
            length,
            0,
            prefill.length,
            rows,
            condition.text_lengths,
            Sampling(guidance=guidance),
            torch.Generator(),
            prefill,
            scored_from=start,
        )

    @torch.inference_mode()
    def prefill(self, slot: int, deadline: float = math.inf) -> bool:
        """Prefill the next piece of a slot, or layers of it up to a deadline; see `Prefill.advance`.

        Returns
        -------
        Whether that was the end of the last piece, so that the slot takes part in the next step.
        """
        sequence = self._sequences[slot]
        assert sequence.prefill is not None, "the slot is running"
        if not sequence.prefill.is_complete:
            hidden = sequence.prefill.advance(deadline)
            if hidden is not None and sequence.scored_from is not None:
                self._add_scores(sequence, hidden, sequence.prefill.next_column, sequence.scored_from)
        if sequence.prefill.is_complete:
            sequence.prefill = None
            if sequence.scored_from is None:
                self._activate(slot, sequence)
        return sequence.prefill is None

    @torch.inference_mode()
    def step(self) -> list[int]:
        """Generate the next column of every running slot; at least one must be running.

        Returns
        -------
        The slots that are now complete; they stay occupied until they are released.
        """
        sequences = {
            slot: sequence
            for slot, sequence in self._sequences.items()
            if sequence.prefill is None and sequence.steps_left
        }
        for slot, sequence in sequences.items():
            sequence.kv_length += 1
            sequence.steps_left -= 1
            if sequence.sampling.temperature > 0:
                self.buffers.noise[slot].exponential_(1, generator=sequence.generator)
        samplings = [sequence.sampling for sequence in sequences.values()]
        max_top_k = max(sampling.top_k for sampling in samplings)
        uses_top_p = any(sampling.top_p > 0 for sampling in samplings)
        if self.is_dense:
            longest = max(sequence.kv_length for sequence in sequences.values())
            longest_text = max(max(sequence.text_lengths, default=0) for sequence in sequences.values())
            # Beside a slot that is guided, one that is not has a second row, without effect.
            rows = max(sequence.rows for sequence in sequences.values())
            count = 1 + max(sequences)
            shape = StepShape(count, rows, longest, longest_text, max_top_k, uses_top_p)
            self.buffers.gpu_step.run(self.buffers, shape)
        else:
            slots = [
                SlotRows(slot, sequence.kv_length, sequence.rows, sequence.text_lengths)
                for slot, sequence in sequences.items()
            ]
            self._step_on_cpu(sorted(slots, key=lambda slot: slot.order), max_top_k, uses_top_p)
        complete = [slot for slot, sequence in sequences.items() if not sequence.steps_left]
        for slot in complete:
            self._deactivate(slot)
        return complete

    def tokens(self, slot: int, start: int = 0) -> torch.Tensor:
        """Return the frames int64 [codebooks, frames] that a slot has so far, from `start` on."""
        sequence = self._sequences[slot]
        known = max(0, sequence.length - sequence.steps_left)
        return self._pattern.frames(self.buffers.tokens[slot], known)[:, start:].clone()

    def logits(self, slot: int) -> torch.Tensor:
        """Return the logits float32 [codebooks, frames, card] of given tokens; see `Engine.score_many`."""
        sequence = self._sequences[slot]
        assert sequence.scored_from is not None, "the sequence is generated"
        # The logits of a column predict the next one, whereas `frames` expects those of the column itself.
        following = torch.cat([sequence.scores[0][:1], *sequence.scores]).transpose(0, 1)
        return self._pattern.frames(following, sequence.length - sequence.scored_from)

    def release(self, slot: int) -> None:
        """Free a slot, complete or not."""
        del self._sequences[slot]
        self._deactivate(slot)

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """Move a running sequence to a free slot."""
        buffers = self.buffers
        for cache in filter(None, (buffers.cache, buffers.text)):
            cache.copy(source, target)
        counters = (buffers.column, buffers.position, buffers.active, buffers.text_lengths)
        for tensor in (buffers.tokens, buffers.noise, *counters, *vars(buffers.controls).values()):
            tensor[target] = tensor[source]
        self._sequences[target] = self._sequences.pop(source)
        self._deactivate(source)

    def _add_scores(self, sequence: _Sequence, hidden: torch.Tensor, column: int, start: int) -> None:
        """Compute the logits of a piece [rows, columns, dim] that ends before `column`, as far as they are wanted."""
        count = min(hidden.shape[1], column - start)
        if count <= 0:
            return
        wanted = hidden[:, -count:]
        logits = self._decoder.logits(wanted.flatten(0, 1)).view(sequence.rows, count, *self.buffers.noise.shape[1:])
        guided = logits[0] if sequence.rows == 1 else guide(logits[0], logits[1], sequence.sampling.guidance)
        sequence.scores.append(guided)

    def _activate(self, slot: int, sequence: _Sequence) -> None:
        buffers, layout = self.buffers, sequence.layout
        buffers.tokens[slot, :, : layout.shape[1]] = layout.to(self._decoder.device)
        buffers.controls.set(slot, sequence.sampling)
        buffers.column[slot] = layout.shape[1] - 1 - sequence.steps_left
        buffers.text_lengths[slot] = 0
        for row, text_length in enumerate(sequence.text_lengths):
            buffers.text_lengths[slot, row] = text_length
        buffers.active[slot] = 1

    def _deactivate(self, slot: int) -> None:
        for counter in (self.buffers.active, self.buffers.column, self.buffers.position):
            counter[slot] = 0

    def _start_prefill(self, slot: int, condition: ConditionTensors, columns: torch.Tensor, rows: int) -> Prefill:
        buffers, device = self.buffers, self._decoder.device
        if device.type == "cuda":
            for cache in filter(None, (buffers.cache, buffers.text)):
                cache.clear(slot)
        return Prefill(self._decoder, buffers.cache, buffers.text, slot, rows, condition, columns.to(device))

    def _layers_on_cpu(self, x: torch.Tensor, slots: list[SlotRows]) -> torch.Tensor:
        buffers, decoder = self.buffers, self._decoder
        if decoder.compiled is not None:
            return decoder.compiled.forward(x, buffers.cache, buffers.text, slots)
        is_compact = buffers.cache.buffer.dtype is not torch.float32
        attention = (CompactAttention if is_compact else PerSlotAttention)(buffers.cache, buffers.text, slots)
        return decoder.forward(x, attention)

    def _step_on_cpu(self, slots: list[SlotRows], max_top_k: int, uses_top_p: bool) -> None:
        """Run one step of the given slots only, each with as many rows as it needs."""
        buffers, decoder = self.buffers, self._decoder
        index = torch.tensor([slot.slot for slot in slots])
        guided = sum(slot.rows == 2 for slot in slots)
        column = buffers.column[index]
        x = decoder.embed(buffers.tokens[index, :, column]) + decoder.position_embedding(buffers.position[index])
        hidden = self._layers_on_cpu(torch.cat([x, x[:guided]]), slots)
        controls = buffers.controls.of(index)
        logits = decoder.logits(hidden)
        conditional, unconditional = logits[: len(slots)], logits[len(slots) :]
        steered = guide(conditional[:guided], unconditional, controls.guidance[:guided])
        logits = torch.cat([steered, conditional[guided:]])
        drawn = draw(logits, buffers.noise[index], controls, max_top_k, uses_top_p)
        following = buffers.tokens[index, :, column + 1]
        buffers.tokens[index, :, column + 1] = torch.where(following == UNKNOWN, drawn, following)
        buffers.column[index] += 1
        buffers.position[index] += 1
