"""The compiled step computes what the decoder computes operation by operation, for any rows, weights and threads."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from musicgen_service import threads
from musicgen_service.engine import low_rank, weights
from musicgen_service.engine.attention import PerSlotAttention, SlotRows
from musicgen_service.engine.cache import CacheShape, KeyValueCache
from musicgen_service.engine.compact_attention import CompactAttention
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.interface import Sampling
from musicgen_service.engine.linear import FloatLinear, Int8Linear
from musicgen_service.engine.low_rank import LowRank
from musicgen_service.engine.precision import Numerics, Precision
from musicgen_service.engine.step_kernel import layers, processor
from musicgen_service.models.store import WeightStore
from tests.engine.caches import contents, fill
from tests.engine.conftest import KINDS, Pair, load
from tests.engine.test_parity import generate

CPU = torch.device("cpu")
DIM, HEADS, LAYERS, WIDE = 128, 2, 3, 512
SLOTS = [
    SlotRows(2, length=300, rows=2, text_lengths=(7, 9)),
    SlotRows(0, length=41, rows=2, text_lengths=(1,)),
    SlotRows(3, length=1, rows=1, text_lengths=(4,)),
]
"""In the order of a step: five rows, of which four have a text."""
TOLERANCE = {Precision.EXACT: 1e-5, Precision.INT8: 8e-2}
"""int8 multiplies with activations of 15 bits here, and of 8 bits operation by operation."""

pytestmark = pytest.mark.skipif(not processor.is_supported(), reason="the processor has no AVX2")


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile the steps of narrow networks, too."""
    monkeypatch.setattr(layers, "MIN_WIDTH", 64)


def build(precision: Precision, *, has_text: bool = True, stored: torch.dtype = torch.float16) -> weights.Weights:
    """Random weights, of which one row of a matrix has an outlier, so that int8 stores it in two parts."""
    noise = torch.Generator().manual_seed(0)

    def take(name: str, *shape: int) -> torch.Tensor:
        if len(shape) == 1:
            return 0.1 * torch.randn(shape, generator=noise) + name.endswith("weight")
        tensor = torch.randn(shape, generator=noise) / shape[-1] ** 0.5
        if name.endswith(weights.UP):
            tensor[7, 3] += 9
        return tensor.to(stored)

    shape = weights.DecoderShape(DIM, HEADS, LAYERS, WIDE, 4, 128, has_text)
    numerics = Numerics(precision, CPU)
    return weights.build(shape, take, numerics.pack_weight, numerics.pack_unquantised, numerics.dtype)


def decoder(built: weights.Weights, precision: Precision) -> Decoder:
    numerics = Numerics(precision, CPU)
    return Decoder(built, numerics.dtype, numerics.cache_dtype, CPU)


def caches(made: Decoder) -> tuple[KeyValueCache, KeyValueCache | None]:
    """The same keys and values at every call."""
    found = [
        KeyValueCache(CacheShape(LAYERS, 14, 2, HEADS, capacity, DIM // HEADS), made.cache_dtype, CPU)
        for capacity in (300, 32)
    ]
    torch.manual_seed(1)
    for cache in found:
        fill(cache)
    return found[0], found[1] if made.weights.layers[0].cross is not None else None


def rows_in() -> torch.Tensor:
    return torch.randn(5, DIM, generator=torch.Generator().manual_seed(2))


def by_kernel(made: Decoder, x: torch.Tensor, slots: list[SlotRows]) -> tuple[torch.Tensor, torch.Tensor]:
    """What becomes of rows, and of the keys and values."""
    assert made.compiled is not None
    cache, text = caches(made)
    return made.compiled.forward(x.clone(), cache, text, slots), contents(cache)


def by_operations(made: Decoder, x: torch.Tensor, slots: list[SlotRows]) -> tuple[torch.Tensor, torch.Tensor]:
    cache, text = caches(made)
    attention = CompactAttention if made.cache_dtype is torch.int8 else PerSlotAttention
    return made.forward(x.clone(), attention(cache, text, slots)), contents(cache)


@pytest.mark.parametrize("has_text", [True, False])
@pytest.mark.parametrize("precision", list(TOLERANCE))
def test_step_is_that_of_the_operations(precision: Precision, has_text: bool) -> None:
    made = decoder(build(precision, has_text=has_text), precision)
    for ours, right in zip(by_kernel(made, rows_in(), SLOTS), by_operations(made, rows_in(), SLOTS), strict=True):
        torch.testing.assert_close(ours, right, atol=TOLERANCE[precision], rtol=1e-2 if right.ndim > 2 else 0)


def test_weights_that_float16_does_not_hold_are_read_as_float32() -> None:
    made = decoder(build(Precision.EXACT, stored=torch.float32), Precision.EXACT)
    linear = made.weights.layers[0].up
    assert isinstance(linear, FloatLinear) and linear.weight.dtype is torch.float32
    ours, right = by_kernel(made, rows_in(), SLOTS)[0], by_operations(made, rows_in(), SLOTS)[0]
    torch.testing.assert_close(ours, right, atol=1e-5, rtol=0)


def test_outlier_of_int8_is_stored_in_two_parts() -> None:
    linear = build(Precision.INT8).layers[0].up
    assert isinstance(linear, Int8Linear) and linear.residual_rows.tolist() == [7]


@pytest.mark.parametrize("precision", list(TOLERANCE))
def test_slot_is_independent_of_its_neighbours(precision: Precision) -> None:
    made = decoder(build(precision), precision)
    together, _ = by_kernel(made, rows_in(), SLOTS)
    for index, own in enumerate(([0, 3], [1, 4], [2])):
        alone, _ = by_kernel(made, rows_in()[own], [SLOTS[index]])
        assert torch.equal(alone, together[own])


@pytest.mark.parametrize("precision", list(TOLERANCE))
def test_result_is_that_of_a_row_alone_however_many_there_are(precision: Precision) -> None:
    made = decoder(build(precision), precision)
    rows = torch.randn(14, DIM, generator=torch.Generator().manual_seed(3))

    def result(count: int) -> torch.Tensor:
        """Slots without guidance, of one row each."""
        slots = [SlotRows(row, length=20 + row, rows=1, text_lengths=(4,)) for row in range(count)]
        return by_kernel(made, rows[:count], slots)[0]

    most = result(14)
    assert all(torch.equal(result(count), most[:count]) for count in (1, 2, 3, 8, 9, 10, 13))


@pytest.mark.parametrize("precision", list(TOLERANCE))
def test_number_of_threads_changes_nothing(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    built = build(precision)
    expected = by_kernel(decoder(built, precision), rows_in(), SLOTS)
    monkeypatch.setattr(threads, "for_width", lambda _width: 4)
    with ThreadPoolExecutor(3) as pool:
        monkeypatch.setattr(layers, "pool", lambda: pool)
        made = decoder(built, precision)
        for _ in range(20):
            assert all(map(torch.equal, by_kernel(made, rows_in(), SLOTS), expected))


def test_step_does_not_wait_for_a_thread_that_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    built = build(Precision.EXACT)
    expected = by_kernel(decoder(built, Precision.EXACT), rows_in(), SLOTS)
    monkeypatch.setattr(threads, "for_width", lambda _width: 2)
    held = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(held.wait, 60)
        monkeypatch.setattr(layers, "pool", lambda: pool)
        made = decoder(built, Precision.EXACT)
        for _ in range(3):
            assert all(map(torch.equal, by_kernel(made, rows_in(), SLOTS), expected))
        held.set()
        assert busy.result()
        for _ in range(3):
            assert all(map(torch.equal, by_kernel(made, rows_in(), SLOTS), expected))


@pytest.mark.slow  # the kernel is compiled three times
@pytest.mark.parametrize("damage", [b"", b"damaged"], ids=["empty", "damaged"])
def test_step_is_compiled_where_what_numba_kept_cannot_be_read(
    damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from numba.core import config

    from musicgen_service.engine.step_kernel import compiling

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    built = build(Precision.EXACT)
    expected = by_operations(decoder(built, Precision.EXACT), rows_in(), SLOTS)
    try:
        for is_damaged in (False, True):
            compiling._entry.cache_clear()
            ours = by_kernel(decoder(built, Precision.EXACT), rows_in(), SLOTS)
            torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
            assert ("numba's cache cannot be used" in capsys.readouterr().err) == is_damaged
            kept = [file for file in tmp_path.rglob("*") if file.suffix in (".nbi", ".nbc")]
            assert kept
            for file in kept:
                file.write_bytes(damage)
    finally:
        compiling._entry.cache_clear()


@pytest.mark.slow  # the kernel is compiled for every test again
@pytest.mark.skipif(not processor.has_vnni(), reason="the form without VNNI is tested already")
def test_form_without_vnni_passes_these_tests(tmp_path: Path) -> None:
    tests = [f"{__file__}::{name}" for name in globals() if name.startswith("test_") and "form_without" not in name]
    program = (
        "import sys, pytest; from musicgen_service.engine.step_kernel import processor;"
        "processor.has_vnni = lambda: False;"
        "sys.exit(pytest.main(['-n', '0', '-q', '-m', 'not slow', *sys.argv[1:]]))"
    )
    done = subprocess.run([sys.executable, "-c", program, *tests], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("precision", list(TOLERANCE))
def test_low_rank_products_are_added(precision: Precision) -> None:
    def changes(name: str) -> LowRank | None:
        noise = torch.Generator().manual_seed(5)
        if name.endswith(weights.UP):
            return LowRank(torch.randn(3, DIM, generator=noise) / 10, torch.randn(WIDE, 3, generator=noise) / 10)
        if name.endswith(weights.DOWN) and ".1." in name:
            return LowRank(torch.randn(2, WIDE, generator=noise) / 10, torch.randn(DIM, 2, generator=noise) / 10)
        return None

    base = build(precision)
    once = low_rank.adapted(base, changes, Numerics(precision, CPU).add_product)
    twice = low_rank.adapted(once, changes, Numerics(precision, CPU).add_product)
    results = [by_kernel(decoder(built, precision), rows_in(), SLOTS)[0] for built in (base, once, twice)]
    for built, ours in zip((once, twice), results[1:], strict=True):
        right = by_operations(decoder(built, precision), rows_in(), SLOTS)[0]
        torch.testing.assert_close(ours, right, atol=TOLERANCE[precision], rtol=0)
    assert all((after - before).abs().max() > 0.1 for before, after in pairwise(results))


def test_other_processors_step_operation_by_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "is_supported", lambda: False)
    assert decoder(build(Precision.EXACT), Precision.EXACT).compiled is None


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(top_p=0.8), Sampling(temperature=0.0), Sampling(guidance=1.0)], ids=str
)
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_engine_gives_the_tokens_of_audiocraft(
    pairs: dict[str, Pair], store: WeightStore, kind: str, sampling: Sampling
) -> None:
    model = load(store, kind)
    prompt = torch.randint(0, 128, (4 * model.channels, 30), generator=torch.Generator().manual_seed(0))
    for known in (None, prompt):
        both = [
            generate(each, pairs[kind].melody, known, 60, sampling, seed=3) for each in (pairs[kind].reference, model)
        ]
        assert torch.equal(*both)
