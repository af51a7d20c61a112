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

KINDS = ("small", "melody", "stereo-small", "stereo-melody")
GPU = torch.device("cuda", 0)


def load(store: WeightStore, name: str, monkeypatch: pytest.MonkeyPatch, **settings: str) -> MusicGenModel:
    for setting in ("MUSICGEN_ENGINE", "MUSICGEN_PRECISION", "MUSICGEN_CUDA_GRAPH"):
        monkeypatch.delenv(setting, raising=False)
    for setting, value in settings.items():
        monkeypatch.setenv(setting, value)
    return load_model(store.checkpoint(name), GPU)


def generate(model: MusicGenModel, count: int = 1, length: int = 60) -> list[torch.Tensor]:
    melody = torch.sin(torch.arange(64_000) * 0.08)[None] if model.melody_span is not None else None
    conditions = Condition("a rock song", melody)
    requests = [
        SlotRequest(conditions, None, length + 9 * seed, Sampling(), torch.Generator(GPU).manual_seed(seed))
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
    assert len([record for record in caplog.records if "no capture today" in record.message]) == 1


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
