"""Songs as tokens: what is computed, what is read from the cache, and songs without their vocals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from musicgen_service.audio.reading import Audio
from musicgen_service.models import manifest
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore
from musicgen_service.training import base
from musicgen_service.training.base import Base
from musicgen_service.training.encoding import Clip, Encoder, Split
from musicgen_service.training.errors import TrainingError
from musicgen_service.training.listening import Song
from musicgen_service.training.options import Options
from musicgen_service.training.pieces import Piece

Quick = Callable[..., Options]


@pytest.fixture(scope="module")
def small(store: WeightStore) -> Base:
    return base.load(store, "small", torch.device("cpu"))


@pytest.fixture
def song(songs_folder: Path) -> Song:
    path = songs_folder / "song 0.wav"
    return Song(path.name, path, manifest.sha256(path), 7.0, "rock, a minor", (Piece(0.0, 7.0, (0.0, 2.0)),))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What the codec has encoded."""
    sounds: list[torch.Tensor] = []
    encode = MusicGenModel.encode

    def counted(model: MusicGenModel, audio: torch.Tensor) -> torch.Tensor:
        sounds.append(audio)
        return encode(model, audio)

    monkeypatch.setattr(MusicGenModel, "encode", counted)
    return sounds


def clips(small: Base, song: Song, options: Options, cache: Path, without_vocals: Split | None = None) -> list[Clip]:
    return Encoder(small, options, cache, without_vocals, None).encode_all([song], lambda _: None)


def test_every_variant_is_encoded_once(
    small: Base, song: Song, encoded: list[Any], tmp_path: Path, quick: Quick
) -> None:
    options = quick("small", gain=3.0, pitch=1)
    first = clips(small, song, options, tmp_path)
    assert len(encoded) == len(first) == 5
    captions = [clip.caption for clip in first]
    assert captions == ["rock, a minor", "rock, ab minor", "rock, bb minor", "rock, a minor", "rock, a minor"]
    assert [clip.is_original for clip in first] == [True, False, False, False, False]
    again = clips(small, song, options, tmp_path)
    assert len(encoded) == 5
    assert all(torch.equal(one.tokens, other.tokens) for one, other in zip(first, again, strict=True))
    # A damaged one is computed again, and nothing else.
    next(tmp_path.glob("*.safetensors")).write_bytes(b"damaged")
    clips(small, song, options, tmp_path)
    assert len(encoded) == 6


def test_songs_are_encoded_without_their_vocals(
    small: Base, song: Song, encoded: list[torch.Tensor], tmp_path: Path, quick: Quick
) -> None:
    def halved(audio: Audio) -> Audio:
        return Audio(audio.samples / 2, audio.rate)

    clips(small, song, quick("small"), tmp_path)
    clips(small, song, quick("small", drop_vocals=True), tmp_path, halved)
    assert len(encoded) == 2
    np.testing.assert_allclose(encoded[1].numpy(), encoded[0].numpy() / 2, atol=1e-6)


def test_a_song_of_vocals_alone_is_told(small: Base, song: Song, tmp_path: Path, quick: Quick) -> None:
    def nearly_nothing(audio: Audio) -> Audio:
        return Audio(audio.samples / 200, audio.rate)

    with pytest.raises(TrainingError, match=r"song 0\.wav is almost silent without its vocals: leave it out"):
        clips(small, song, quick("small", drop_vocals=True), tmp_path, nearly_nothing)
