"""A step on a GPU, traced without one: it reads nothing on the host, mixes no devices, and launches few kernels."""

from queue import SimpleQueue

import pytest
import torch

from musicgen_service.engine import fused, weights
from musicgen_service.engine.attention import Attention
from musicgen_service.engine.buffers import Buffers
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, ConditionTensors, Sampling, SlotRequest
from musicgen_service.engine.linear import DenseLinear
from musicgen_service.engine.pattern import UNKNOWN, DelayPattern
from musicgen_service.engine.precision import Numerics, Precision
from musicgen_service.engine.slots import Slots
from tests.support.fake_gpu import GPU, Launches, fake_gpu

LARGE = weights.DecoderShape(2048, 32, 48, 8192, 4, 2048, True)
TINY = weights.DecoderShape(64, 4, 2, 256, 4, 128, True)
WITHOUT_CROSS_ATTENTION = weights.DecoderShape(64, 4, 2, 256, 4, 128, False)


@pytest.fixture(autouse=True, params=[True, False], ids=["kernels", "torch"])
def has_kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether there are kernels of our own."""
    has: bool = request.param
    monkeypatch.setattr(fused, "available", lambda device: has and device.type == "cuda")
    monkeypatch.setenv("MUSICGEN_CUDA_GRAPH", "0")  # there is nothing to capture
    return has


def decoder_of(shape: weights.DecoderShape) -> Decoder:
    numerics = Numerics(Precision.HALF, GPU)
    taken = weights.build(
        shape,
        lambda _name, *sizes: torch.empty(sizes, device=GPU),
        numerics.pack_weight,
        numerics.pack_unquantised,
        numerics.dtype,
    )
    decoder = Decoder(taken, numerics.dtype, numerics.cache_dtype, GPU)
    decoder.reserve_positions(256)
    return decoder


def condition_for(shape: weights.DecoderShape, slot: int) -> ConditionTensors:
    """Every third slot has a negative text, and every model without cross-attention a prefix."""
    texts = tuple(torch.empty(12 + row, shape.dim, device=GPU) for row in range(1 + (slot % 3 == 1)))
    if shape.has_cross_attention:
        return ConditionTensors(texts, None)
    return ConditionTensors((), torch.empty(2, 20, shape.dim, device=GPU))


def started(shape: weights.DecoderShape, count: int, text_rows: int) -> Slots:
    """Slots that are all taken, every second one by a sequence that continues a prompt."""
    decoder, pattern = decoder_of(shape), DelayPattern(range(shape.codebooks), shape.card)
    slots = Slots(decoder, pattern, Buffers(decoder, count, 256, 32, text_rows))
    for slot in range(count):
        prompt = torch.zeros(shape.codebooks, 50, dtype=torch.int64) if slot % 2 else None
        condition = condition_for(shape, slot if text_rows == 2 else 0)
        sampling = Sampling(top_p=0.9 * (slot % 4 == 3), temperature=float(slot % 5 != 4))
        slots.admit(slot, condition, prompt, 60, sampling, torch.Generator())
        prefill(slots, slot)
    return slots


def prefill(slots: Slots, slot: int) -> None:
    while not slots.prefill(slot):
        pass


@pytest.mark.parametrize("text_rows", [1, 2])
@pytest.mark.parametrize("shape", [TINY, WITHOUT_CROSS_ATTENTION], ids=["text", "prefix"])
def test_sequences_join_step_and_leave_without_a_read_of_the_device(
    shape: weights.DecoderShape, text_rows: int
) -> None:
    with fake_gpu():
        slots = started(shape, 6, text_rows)
        assert slots.step() == []
        slots.release(2)
        slots.admit(2, condition_for(shape, 0), None, 2, Sampling(), torch.Generator())
        slots.step()
        prefill(slots, 2)
        steps = 0
        while 2 not in slots.step():
            steps += 1
        assert steps == 4
        assert slots.tokens(2).device == GPU
        assert slots.tokens(2).shape == (shape.codebooks, 2)
        slots.release(0)
        slots.move(5, 0)
        assert slots.step() == []
        assert slots.tokens(0, 1).shape[0] == shape.codebooks


def test_slots_that_are_not_guided_step_with_one_row_each_until_a_guided_one_joins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows: list[tuple[int, int]] = []
    forward = Decoder.forward

    def recording(self: Decoder, x: torch.Tensor, attention: Attention) -> torch.Tensor:
        rows.append((x.shape[0], attention.text_rows(x).shape[0]))
        return forward(self, x, attention)

    with fake_gpu():
        decoder = decoder_of(TINY)
        slots = Slots(decoder, DelayPattern(range(4), TINY.card), Buffers(decoder, 4, 256, 32, 2))
        for slot, guidance in enumerate((1.0, 1.0, 3.0, 1.0)):
            slots.admit(slot, condition_for(TINY, slot), None, 20, Sampling(guidance=guidance), torch.Generator())
        monkeypatch.setattr(Decoder, "forward", recording)
        for slot in (0, 1):
            prefill(slots, slot)
        slots.step()
        prefill(slots, 2)
        slots.step()
        slots.release(2)
        slots.step()
    # Three slots are computed as four, as steps have few shapes.
    assert [count for count in rows if count[0] <= 8] == [(2, 2), (8, 8), (2, 2)]


def test_a_prompt_on_the_gpu_is_read_before_the_loop_has_it() -> None:
    with fake_gpu():
        decoder = decoder_of(TINY)
        engine = Engine(decoder.weights, range(4), lambda _: condition_for(TINY, 0), Numerics(Precision.HALF, GPU))
        prompt = torch.zeros(4, 20, dtype=torch.int64, device=GPU)
        with pytest.raises(RuntimeError, match="wait for the GPU"):
            engine.pattern.layout(prompt, 30)
        asked = SlotRequest(Condition(), prompt, 30, Sampling(), torch.Generator())
        engine.pattern.layout(engine._handle(asked, condition_for(TINY, 0), SimpleQueue()).request.prefix_tokens, 30)


def test_a_slot_without_guidance_does_not_read_the_row_that_it_has_beside_a_guided_one() -> None:
    numerics = Numerics(Precision.EXACT, torch.device("cpu"))
    made = torch.Generator().manual_seed(0)
    taken = weights.build(
        TINY, lambda _name, *sizes: torch.randn(sizes, generator=made) / 8, DenseLinear, DenseLinear, numerics.dtype
    )
    decoder = Decoder(taken, torch.float32, torch.float32, numerics.device)
    decoder.reserve_positions(256)
    buffers = Buffers(decoder, 2, 256, 32, 1)
    slots = Slots(decoder, DelayPattern(range(4), TINY.card), buffers)
    for slot, guidance in enumerate((1.0, 3.0)):
        condition = ConditionTensors((torch.randn(12, TINY.dim, generator=made),), None)
        slots.admit(slot, condition, None, 20, Sampling(guidance=guidance, temperature=0.0), torch.Generator())
        prefill(slots, slot)
    buffers.cache.buffer.nan_to_num_()
    drawn = []
    for unknown in (0.0, torch.nan):
        buffers.cache.buffer[:, 0, 1] = unknown
        buffers.column.fill_(0)
        buffers.gpu_step._by_torch(buffers, 2, 2, (256, 32), 0, False)
        drawn.append(buffers.tokens[0, 0, 1].item())
        buffers.tokens[:, 0, 1] = UNKNOWN
    assert drawn[0] == drawn[1]


def test_score_stays_on_the_device() -> None:
    with fake_gpu():
        decoder = decoder_of(TINY)
        slots = Slots(decoder, DelayPattern(range(4), TINY.card), Buffers(decoder, 1, 256, 32, 1))
        slots.admit_given(0, condition_for(TINY, 0), torch.zeros(4, 30, dtype=torch.int64), 3.0, 0)
        prefill(slots, 0)
        logits = slots.logits(0)
        assert (logits.device, logits.dtype, logits.shape) == (GPU, torch.float32, (4, 30, TINY.card))


@pytest.mark.parametrize(("count", "most"), [(1, 400), (32, 600)])
def test_launches_of_a_step_of_large(has_kernels: bool, count: int, most: int) -> None:
    with fake_gpu():
        decoder = decoder_of(LARGE)
        slots = Slots(decoder, DelayPattern(range(4), LARGE.card), Buffers(decoder, count, 256, 32, 1))
        # A step computes all slots up to the last that runs. Greedily, as random numbers come from outside the step.
        slots.admit(count - 1, condition_for(LARGE, 0), None, 60, Sampling(temperature=0.0), torch.Generator())
        prefill(slots, count - 1)
        with Launches() as launches:
            slots.step()
    assert launches.counts.total() <= (most if has_kernels else 720), launches.counts


def test_a_missing_compiler_costs_the_kernels_and_one_line_of_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))

    def fail() -> None:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(fused, "_kernels", fail)
    fused.available.cache_clear()
    with fake_gpu():
        # A tensor without data launches nothing, so the kernel is asked for here.
        monkeypatch.setattr(fused, "normalise", lambda *_arguments: fused._kernels())
        assert [fused.available(GPU) for _ in range(3)] == [False] * 3
    assert caplog.text.count("Failed to find C compiler") == 1
    fused.available.cache_clear()
