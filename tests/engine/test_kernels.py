"""The kernels of a GPU step, run by Triton's interpreter: they compute what torch computes."""

import importlib.util

import pytest
import torch
from torch.nn import functional

from musicgen_service.engine import fused, sampling
from musicgen_service.engine.buffers import Buffers
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.gpu_step import StepShape
from musicgen_service.engine.interface import Condition, Sampling
from musicgen_service.engine.slots import Slots
from tests.engine.conftest import Pair

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is for Linux"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="tests/gpu runs them on the GPU"),
]
UNKNOWN = -1
EPSILON = 1e-5


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_normalise() -> None:
    rows, weight, bias, out = torch.randn(6, 96), torch.randn(96), torch.randn(96), torch.empty(3, 96)
    fused.normalise(rows[::2], weight, bias, EPSILON, out)
    torch.testing.assert_close(out, functional.layer_norm(rows[::2], (96,), weight, bias), atol=1e-5, rtol=0)


@pytest.mark.parametrize("rows", [1, 2])
def test_product_with_what_surrounds_it(rows: int) -> None:
    x, weight = torch.randn(rows, 96), torch.randn(40, 96)
    scale, shift = torch.randn(96), torch.randn(96)
    out = torch.empty(rows, 40)
    fused.product(x, weight, scale, shift, EPSILON, True, False, out)
    expected = functional.gelu(functional.layer_norm(x, (96,), scale, shift) @ weight.T)
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=0)


def test_product_adds_to_rows_that_are_apart() -> None:
    x, weight, total = torch.randn(2, 96), torch.randn(40, 96), torch.randn(4, 40)
    expected = total.clone()
    expected[::2] += x @ weight.T
    fused.product(x, weight, None, None, 0.0, False, True, total[::2])
    torch.testing.assert_close(total, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("slots", "lengths"), [(1, [279]), (2, [0, 150]), (3, [5, 299, 64])])
def test_attention_of_a_step(slots: int, lengths: list[int]) -> None:
    """Positions are divided among programs, of which there are fewer the more slots there are."""
    heads, width, rows = 4, 16, 2
    cache = torch.randn(slots, rows, 2, heads, 300, width)
    expected_cache = cache.clone()
    projected, out = torch.randn(slots * rows, 3 * heads * width), torch.empty(slots * rows, heads * width)
    scratch = fused.Scratch.create(width, torch.device("cpu"))
    # Numbers that are not there must not be read.
    for slot, length in enumerate(lengths):
        cache[slot, :, :, :, length:] = torch.nan
    fused.attend(projected, cache, torch.tensor(lengths), True, out, *scratch)
    assert not scratch.arrived.any()
    split = projected.view(slots, rows, 3, heads, width)
    for slot, length in enumerate(lengths):
        expected_cache[slot, :, :, :, length] = split[slot, :, 1:]
        stop = length + 1
        assert torch.equal(cache[slot, ..., :stop, :], expected_cache[slot, ..., :stop, :])
        keys, values = expected_cache[slot, ..., :stop, :].unbind(1)
        attended = functional.scaled_dot_product_attention(split[slot, :, 0, :, None], keys, values)
        ours = out.view(slots, rows, heads, width)[slot]
        torch.testing.assert_close(ours, attended[:, :, 0], atol=1e-5, rtol=0)


def test_many_rows_divide_no_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_PROGRAMS", 8)
    test_attention_of_a_step(2, [130, 7])


def test_attention_to_texts_of_which_one_is_missing() -> None:
    heads, width = 4, 16
    cache, lengths = torch.randn(2, 2, 2, heads, 32, width), torch.tensor([[20, 0], [3, 32]])
    queries, out = torch.randn(4, heads * width), torch.empty(4, heads * width)
    fused.attend(queries, cache, lengths, False, out, *fused.Scratch.create(width, torch.device("cpu")))
    for row, length in enumerate(lengths.flatten().tolist()):
        keys, values = cache[row // 2, row % 2, :, :, :length]
        attended = functional.scaled_dot_product_attention(queries[row].view(heads, 1, width), keys, values)
        expected = attended[:, 0].flatten() if length else torch.zeros(heads * width)
        torch.testing.assert_close(out[row], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_embedding(dtype: torch.dtype) -> None:
    tokens = torch.randint(0, 129, (3, 4, 50))
    column, position = torch.tensor([3, 0, 49]), torch.tensor([5, 1, 29])
    tables, positions = torch.randn(4, 129, 96).to(dtype), torch.randn(30, 96).to(dtype)
    out = torch.empty(3, 2, 96, dtype=dtype)
    fused.embed(tokens, column, position, tables, positions, out)
    for slot in range(3):
        x = tables[0, tokens[slot, 0, column[slot]]]
        for codebook in range(1, 4):
            x = x + tables[codebook, tokens[slot, codebook, column[slot]]]
        assert torch.equal(out[slot], (x + positions[position[slot]]).expand(2, -1))


def test_drawing() -> None:
    card = 100
    samplings = [
        Sampling(top_k=5),
        Sampling(top_k=0),
        Sampling(top_k=1000),
        Sampling(top_p=0.7),
        Sampling(top_p=1.0, temperature=2.0),
        Sampling(temperature=0.0),
        Sampling(top_k=20, temperature=1.7, guidance=1.0),
    ]
    slots = len(samplings)
    controls = sampling.Controls.create(slots, torch.device("cpu"))
    for slot, of_slot in enumerate(samplings):
        controls.set(slot, of_slot)
    logits = 3 * torch.randn(slots, 2, 2, card)
    noise = torch.empty(slots, 2, card).exponential_()
    tokens, column = torch.full((slots, 2, 50), UNKNOWN), torch.arange(slots)
    tokens[0, 1, 1] = 7
    fused.draw(logits, noise, *_in_order(controls), True, tokens, column, UNKNOWN)
    expected = sampling.draw(sampling.guide(logits[:, 0], logits[:, 1], controls.guidance), noise, controls, card, True)
    expected[0, 1] = 7  # a token that is known stays
    for slot in range(slots):
        assert torch.equal(tokens[slot, :, slot + 1], expected[slot])
    assert (tokens != UNKNOWN).sum() == 2 * slots


def test_without_top_p_the_same_is_drawn() -> None:
    controls = sampling.Controls.create(2, torch.device("cpu"))
    for slot in range(2):
        controls.set(slot, Sampling(top_k=30))
    logits, noise = 3 * torch.randn(2, 2, 1, 128), torch.empty(2, 1, 128).exponential_()
    drawn = []
    for uses_top_p in (False, True):
        tokens = torch.full((2, 1, 2), UNKNOWN)
        fused.draw(logits, noise, *_in_order(controls), uses_top_p, tokens, torch.zeros(2, dtype=torch.int64), UNKNOWN)
        drawn.append(tokens)
    assert torch.equal(*drawn)


def test_logits_that_are_not_numbers_give_a_token() -> None:
    controls = sampling.Controls.create(1, torch.device("cpu"))
    controls.set(0, Sampling(top_p=0.5))
    tokens = torch.full((1, 1, 2), UNKNOWN)
    logits, noise = torch.full((1, 2, 1, 100), torch.nan), torch.ones(1, 1, 100)
    for uses_top_p in (False, True):
        column = torch.zeros(1, dtype=torch.int64)
        fused.draw(logits, noise, *_in_order(controls), uses_top_p, tokens, column, UNKNOWN)
        assert ((tokens[..., 1] >= 0) & (tokens[..., 1] < 100)).all()


def _in_order(controls: sampling.Controls) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    return controls.guidance, controls.temperature, controls.top_k, controls.top_p


@pytest.mark.parametrize("guidance", [(3.0, 3.0), (1.0, 3.0), (1.0, 1.0)], ids=str)
def test_steps_give_the_tokens_of_steps_on_a_cpu(
    pairs: dict[str, Pair], monkeypatch: pytest.MonkeyPatch, guidance: tuple[float, float]
) -> None:
    """The kernels one after the other, from tokens to tokens, beside the engine's steps on a CPU."""
    monkeypatch.setattr(fused, "available", lambda _device: True)
    engine = pairs["small"].model.generator
    assert isinstance(engine, Engine)
    conditions = [engine.to_tensors(Condition("rock song", negative_text="jazz")), engine.to_tensors(Condition("a"))]
    prompts = [None, torch.randint(0, 128, (4, 70), generator=torch.Generator().manual_seed(0))]
    engine.decoder.reserve_positions(256)
    both = []
    for _ in range(2):
        buffers = Buffers(engine.decoder, 2, 256, 32, 2)
        slots = Slots(engine.decoder, engine.pattern, buffers)
        for slot in range(2):
            greedy = Sampling(temperature=0.0, guidance=guidance[slot])
            slots.admit(slot, conditions[slot], prompts[slot], 90, greedy, torch.Generator())
            while not slots.prefill(slot):
                pass
        both.append((slots, buffers))
    (by_engine, expected), (_, ours) = both
    by_engine.step()
    # What was never computed of a slot without guidance must not matter.
    ours.cache.buffer[:, [each == 1 for each in guidance], 1] = torch.nan
    ours.gpu_step.run(ours, StepShape(2, 1 if guidance == (1.0, 1.0) else 2, 71, 8, 0, False))
    assert torch.equal(ours.tokens, expected.tokens)
    assert torch.equal(ours.position, expected.position) and torch.equal(ours.column, expected.column)
    assert (ours.tokens[:, 0].gather(1, ours.column[:, None]) != UNKNOWN).all()
