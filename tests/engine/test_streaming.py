"""Streaming yields audio while tokens are still being generated, and chunked audio equals audio decoded at once."""

import threading
from collections.abc import Iterator

import pytest
import torch

from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.engine.slots import Slots
from musicgen_service.models import codec_stream
from musicgen_service.models.musicgen import MusicGenModel
from tests.engine.conftest import KINDS, Pair
from tests.support.harness import TIMEOUT
from tests.support.tokens import generate


def codes_for(model: MusicGenModel, frames: int) -> torch.Tensor:
    return torch.randint(0, 128, (4 * model.channels, frames), generator=torch.Generator().manual_seed(8))


@torch.no_grad()
def at_once(model: MusicGenModel, codes: torch.Tensor) -> torch.Tensor:
    audio: torch.Tensor = model.codec.decode(codes[None])[0]
    return audio


@pytest.mark.parametrize("kind", ["small", "stereo-small"])
@pytest.mark.parametrize("arriving", [1, 7, 50, 400])
def test_streamed_audio_equals_audio_decoded_at_once(pairs: dict[str, Pair], kind: str, arriving: int) -> None:
    model = pairs[kind].model
    codes = codes_for(model, 400)
    parts = [codes[:, start : start + arriving] for start in range(0, 400, arriving)]
    made = list(model.stream_audio(parts, [10, 25, 60, 60, 60, 60]))
    assert [chunk.shape[-1] // model.hop for chunk in made] == [10, 25, 60, 60, 60, 60, 125]
    torch.testing.assert_close(torch.cat(made, dim=-1), at_once(model, codes), atol=1e-5, rtol=0)


@pytest.mark.parametrize("frames", [1, 59, 60, 61, 64, 65, 66])
def test_lengths_around_the_chunk_size(pairs: dict[str, Pair], frames: int) -> None:
    model = pairs["small"].model
    codes = codes_for(model, frames)
    made = list(model.stream_audio([codes], [60]))
    torch.testing.assert_close(torch.cat(made, dim=-1), at_once(model, codes), atol=1e-5, rtol=0)


def test_chunked_encoding_and_decoding_equal_unchunked(pairs: dict[str, Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    model = pairs["small"].model
    codes = codes_for(model, 500)
    audio = at_once(model, codes)
    with torch.no_grad():
        again = model.codec.encode(audio[None])[0]
    monkeypatch.setattr(codec_stream, "CHUNK", 150)
    torch.testing.assert_close(model.decode(codes), audio, atol=1e-5, rtol=0)
    assert torch.equal(model.encode(audio), again)


def test_no_tokens_give_no_audio(pairs: dict[str, Pair]) -> None:
    assert list(pairs["small"].model.stream_audio([], [])) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompted", [0, 12])
def test_tokens_are_yielded_in_chunks(pairs: dict[str, Pair], kind: str, prompted: int) -> None:
    model, melody = pairs[kind].model, pairs[kind].melody
    engine = model.generator
    assert isinstance(engine, Engine)
    prompt = codes_for(model, prompted) if prompted else None
    conditions = Condition("jazz", melody)
    whole = generate(model, conditions, 50, seed=5, prefix_tokens=prompt)
    requests = [
        SlotRequest(conditions, prompt, 50, Sampling(), torch.Generator().manual_seed(5)),
        SlotRequest(conditions, None, 30, Sampling(), torch.Generator().manual_seed(6)),
    ]
    made: list[torch.Tensor] = []
    reported: list[int] = []

    def run() -> Iterator[torch.Tensor]:
        made.extend((yield from engine.stream(requests, lambda done, _total: reported.append(done), 20)))

    parts = list(run())
    assert [part.shape[-1] for part in parts] == ([20, 18] if prompted else [20, 20, 10])
    assert torch.equal(torch.cat(parts, dim=-1), whole[:, prompted:])
    assert torch.equal(made[0], whole) and torch.equal(made[1], generate(model, conditions, 30, seed=6))
    assert reported == sorted(reported) and reported[-1] == 53 - prompted + 33


@pytest.mark.parametrize("kind", ["small", "stereo-melody"])
def test_audio_is_yielded_while_tokens_are_generated(
    pairs: dict[str, Pair], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = pairs[kind]
    conditions = Condition("jazz", pair.melody)
    whole = pair.model.decode(generate(pair.model, conditions, 150, seed=5))
    # The first chunk needs its own frames, the lookahead and the delays.
    permitted = threading.Semaphore(60 + pair.model.lookahead + 3)
    step = Slots.step

    def permitted_step(slots: Slots) -> list[int]:
        assert permitted.acquire(timeout=TIMEOUT)
        return step(slots)

    monkeypatch.setattr(Slots, "step", permitted_step)
    for model in (pair.model, pair.reference):  # audiocraft's loop yields everything at once
        request = SlotRequest(conditions, None, 150, Sampling(), torch.Generator().manual_seed(5))
        made = []
        for piece in model.stream_audio(model.stream_tokens([request], lambda *_: None), [60, 60]):
            made.append(piece)
            permitted.release(150)
        assert [piece.shape[-1] // model.hop for piece in made] == [60, 60, 30]
        torch.testing.assert_close(torch.cat(made, dim=-1), whole, atol=1e-5, rtol=0)
