"""The engine on a GPU: captured steps equal eager ones, and half precision stays close to float32."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from musicgen_service.engine.cuda_graph import StepGraphs
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.models.loading import load_model
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore
from tests.gpu.conftest import GPU, KINDS, load, without_kernels

_SAMPLING = Sampling()


def generate(
    model: MusicGenModel, count: int = 1, length: int = 60, sampling: Sampling = _SAMPLING
) -> list[torch.Tensor]:
    """Clips that differ in length, and every third of them in having a negative text."""
    melody = torch.sin(torch.arange(64_000) * 0.08)[None] if model.melody_span is not None else None
    requests = [
        SlotRequest(
            Condition("a rock song", melody, negative_text="fast jazz song with piano" if seed % 3 == 1 else None),
            None,
            length + 9 * seed,
            sampling,
            torch.Generator(GPU).manual_seed(seed),
        )
        for seed in range(count)
    ]
    return [tokens.cpu() for tokens in model.generator.generate_many(requests, lambda *_: None)]


@pytest.mark.parametrize("precision", ["exact", "half"])
@pytest.mark.parametrize("kind", KINDS)
def test_captured_steps_equal_eager_steps(
    store: WeightStore, monkeypatch: pytest.MonkeyPatch, kind: str, precision: str
) -> None:
    captured = generate(load(store, kind, monkeypatch, MUSICGEN_PRECISION=precision), count=3)
    eager = generate(load(store, kind, monkeypatch, MUSICGEN_PRECISION=precision, MUSICGEN_CUDA_GRAPH="0"), count=3)
    assert all(map(torch.equal, captured, eager))


@pytest.mark.parametrize(
    "sampling", [Sampling(top_k=20), Sampling(top_p=0.8), Sampling(temperature=0.0), Sampling(top_k=0)], ids=str
)
@pytest.mark.parametrize("kind", KINDS)
def test_kernels_give_the_tokens_that_torch_gives(
    store: WeightStore, monkeypatch: pytest.MonkeyPatch, kind: str, sampling: Sampling
) -> None:
    for count in (1, 5):
        ours = generate(load(store, kind, monkeypatch, MUSICGEN_PRECISION="exact"), count, sampling=sampling)
        with without_kernels():
            theirs = generate(load(store, kind, monkeypatch, MUSICGEN_PRECISION="exact"), count, sampling=sampling)
        assert all(map(torch.equal, ours, theirs))


def test_kernels_run_beyond_many_blocks_of_positions(store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # One slot divides its positions among programs, many do not; both continue from a prompt.
    for count in (1, 20):
        ours = _continued(load(store, "small", monkeypatch, MUSICGEN_PRECISION="exact"), count)
        with without_kernels():
            theirs = _continued(load(store, "small", monkeypatch, MUSICGEN_PRECISION="exact"), count)
        assert all(map(torch.equal, ours, theirs))


def _continued(model: MusicGenModel, count: int) -> list[torch.Tensor]:
    prompts = torch.randint(0, 128, (count, 4, 700), generator=torch.Generator().manual_seed(0))
    requests = [
        SlotRequest(Condition("a rock song"), prompt[:, 30 * n :], 760, Sampling(), torch.Generator(GPU).manual_seed(n))
        for n, prompt in enumerate(prompts)
    ]
    return [tokens.cpu() for tokens in model.generator.generate_many(requests, lambda *_: None)]


@pytest.mark.parametrize("guidance", [(1.0, 1.0), (1.0, 3.0)], ids=["none guided", "one guided"])
def test_guidance_of_others_does_not_change_a_clip(
    store: WeightStore, monkeypatch: pytest.MonkeyPatch, guidance: tuple[float, ...]
) -> None:
    def made(model: MusicGenModel, count: int) -> list[torch.Tensor]:
        requests = [
            SlotRequest(
                Condition("a rock song"), None, 90, Sampling(guidance=each), torch.Generator(GPU).manual_seed(seed)
            )
            for seed, each in enumerate(guidance[:count])
        ]
        return [tokens.cpu() for tokens in model.generator.generate_many(requests, lambda *_: None)]

    model = load(store, "small", monkeypatch, MUSICGEN_PRECISION="exact")
    together = made(model, 2)
    assert torch.equal(together[0], made(model, 1)[0])
    with without_kernels():
        theirs = load(store, "small", monkeypatch, MUSICGEN_PRECISION="exact")
        assert all(map(torch.equal, made(theirs, 2), together))


def test_steps_are_captured_by_default(store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[object] = []
    capture = StepGraphs._capture

    def recording(self: StepGraphs, step: Callable[[], None]) -> torch.cuda.CUDAGraph | None:
        graph = capture(self, step)
        graphs.append(graph)
        return graph

    monkeypatch.setattr(StepGraphs, "_capture", recording)
    generate(load(store, "small", monkeypatch))
    assert graphs and None not in graphs


def test_failed_capture_falls_back_to_eager_steps(
    store: WeightStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = generate(load(store, "small", monkeypatch))

    def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("no capture today")

    monkeypatch.setattr(torch.cuda, "graph", fail)
    assert all(map(torch.equal, generate(load(store, "small", monkeypatch)), expected))
    assert any("no capture today" in record.message for record in caplog.records)


def test_capture_works_while_another_thread_uses_the_gpu(
    store: WeightStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = load(store, "small", monkeypatch)
    done = threading.Event()

    def read() -> None:
        numbers = torch.ones(1000, device=GPU)
        while not done.is_set():
            numbers.sum().item()

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            generate(model)
        finally:
            done.set()
        reading.result()
    assert "steps run eagerly" not in caplog.text


def test_exact_logits_on_gpu_equal_those_on_cpu(store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(store, "small", monkeypatch, MUSICGEN_PRECISION="exact")
    engine = model.generator
    assert isinstance(engine, Engine)
    tokens = torch.randint(0, 128, (4, 50))
    on_gpu = engine.score(Condition("a rock song"), tokens, 3.0).cpu()
    monkeypatch.setenv("MUSICGEN_PRECISION", "exact")
    host = load_model(store.checkpoint("small"), torch.device("cpu"))
    assert isinstance(host.generator, Engine)
    on_cpu = host.generator.score(Condition("a rock song"), tokens, 3.0)
    torch.testing.assert_close(on_gpu, on_cpu, atol=5e-5, rtol=0)


def test_half_precision_stays_close(store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = []
    tokens = torch.randint(0, 128, (4, 50), generator=torch.Generator().manual_seed(0))
    for precision in ("exact", "half"):
        model = load(store, "small", monkeypatch, MUSICGEN_PRECISION=precision)
        assert isinstance(model.generator, Engine)
        scores.append(model.generator.score(Condition("a rock song"), tokens, 3.0))
    assert (scores[0] - scores[1]).abs().max() < 0.05


def test_more_requests_than_slots(store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = generate(load(store, "small", monkeypatch), count=40, length=20)
    assert [clip.shape[-1] for clip in clips] == [20 + 9 * seed for seed in range(40)]
    assert all(clip.min() >= 0 and clip.max() < 128 for clip in clips)


def test_overflow_in_a_slot_does_not_affect_the_next_request(
    store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(store, "small", monkeypatch)
    expected = generate(model)
    engine = model.generator
    assert isinstance(engine, Engine) and engine.loop.buffers is not None and engine.loop.buffers.text is not None
    for cache in (engine.loop.buffers.cache, engine.loop.buffers.text):
        cache.buffer.fill_(torch.nan)
    assert all(map(torch.equal, generate(model), expected))
