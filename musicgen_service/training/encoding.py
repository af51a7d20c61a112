"""Songs as tokens and chroma, computed once for each piece and variant and kept on disk."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import librosa
import numpy as np
import torch

from musicgen_service.audio import reading
from musicgen_service.audio.reading import Audio
from musicgen_service.training import captions
from musicgen_service.training.base import Base
from musicgen_service.training.errors import TrainingError
from musicgen_service.training.files import cached
from musicgen_service.training.listening import Song
from musicgen_service.training.options import Options
from musicgen_service.training.pieces import Piece

_ALMOST_NOTHING = 1e-4
"""Share of a song's power (-40 dB) that separators leave of vocals without anything beside them."""

Split = Callable[[Audio], Audio]
"""Takes something out of a recording."""


@dataclass(frozen=True)
class Clip:
    """A piece of a song as it is trained on.

    Attributes
    ----------
    song : number of its song
    caption : without a trigger
    tokens : int64 [codebooks, frames]
    bars : frames at which bars begin
    chroma : float [classes, frames of the chroma]; None for a base that takes no melody
    is_original : whether pitch and level are those of the song
    """

    song: int
    caption: str
    tokens: torch.Tensor
    bars: tuple[int, ...]
    chroma: torch.Tensor | None
    is_original: bool = True


@dataclass(frozen=True)
class _Variant:
    """A change of a song: semitones up, and decibels louder."""

    semitones: int = 0
    decibels: float = 0.0


class Encoder:
    """Encodes songs for a base.

    Parameters
    ----------
    folder : of what was computed before
    without_vocals : takes vocals out of a song, where `options` ask for it
    melody_of : takes out what carries no melody, where the base expects that
    """

    def __init__(
        self, base: Base, options: Options, folder: Path, without_vocals: Split | None, melody_of: Split | None
    ) -> None:
        self._base = base
        self._options = options
        self._folder = folder
        self._without_vocals = without_vocals
        self._melody_of = melody_of

    def encode_all(self, songs: Sequence[Song], report: Callable[[int], None]) -> list[Clip]:
        """Encode every piece of every song, in all variants.

        Parameters
        ----------
        report : called with the number of songs that are done

        Raises
        ------
        TrainingError
            When a song is nothing but vocals, which are to be taken out.
        """
        clips = []
        for number, song in enumerate(songs):
            clips += self._encode(number, song)
            report(number + 1)
        return clips

    def _encode(self, number: int, song: Song) -> list[Clip]:
        clips = []
        read = cache(partial(self._read, song))
        for piece in song.pieces:
            for variant in self._variants():
                file = self._folder / f"{self._key(song, piece, variant)}.safetensors"
                stored = cached(file, partial(self._compute, read, piece, variant))
                rate = self._base.model.frame_rate
                clips.append(
                    Clip(
                        number,
                        captions.transposed(song.caption, variant.semitones) if variant.semitones else song.caption,
                        stored["tokens"].long(),
                        tuple(round(bar * rate) for bar in piece.bars),
                        stored.get("chroma"),
                        variant == _Variant(),
                    )
                )
        return clips

    def _variants(self) -> list[_Variant]:
        options = self._options
        variants = [_Variant()]
        if options.pitch:
            variants += [_Variant(semitones=step) for step in range(-options.pitch, options.pitch + 1) if step]
        if options.gain:
            variants += [_Variant(decibels=-options.gain), _Variant(decibels=options.gain)]
        return variants

    def _read(self, song: Song) -> Audio:
        audio = reading.read(song.path)
        if self._without_vocals is None:
            return audio
        rest = self._without_vocals(audio)
        if _power(rest) < _ALMOST_NOTHING * _power(audio):
            raise TrainingError(f"{song.name} is almost silent without its vocals: leave it out, or keep the vocals.")
        return rest

    def _compute(self, read: Callable[[], Audio], piece: Piece, variant: _Variant) -> dict[str, torch.Tensor]:
        model = self._base.model
        audio = _changed(read().slice(piece.start, piece.end), variant)
        samples = audio.convert(model.sample_rate, model.channels).samples
        samples = samples[:, : samples.shape[1] // model.hop * model.hop]
        stored = {"tokens": model.encode(torch.from_numpy(np.ascontiguousarray(samples))).short()}
        if model.melody_span is not None:
            melody = (self._melody_of(audio) if self._melody_of else audio).convert(model.sample_rate, 1)
            stored["chroma"] = self._base.conditioner.chroma_of(torch.from_numpy(melody.samples))
        return stored

    def _key(self, song: Song, piece: Piece, variant: _Variant) -> str:
        """A digest of all that the result depends on."""
        codec = self._base.files.codec.stat()
        parts = [song.sha256, piece.start, piece.end, variant.semitones, variant.decibels, self._options.base]
        parts += [self._options.drop_vocals, codec.st_size, codec.st_mtime_ns]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _power(audio: Audio) -> float:
    return float(np.mean(np.square(audio.samples)))


def _changed(audio: Audio, variant: _Variant) -> Audio:
    samples = audio.samples
    if variant.semitones:
        samples = librosa.effects.pitch_shift(samples, sr=audio.rate, n_steps=variant.semitones).astype(np.float32)
    if variant.decibels:
        samples = np.clip(samples * np.float32(10 ** (variant.decibels / 20)), -1, 1)
    return Audio(samples, audio.rate)
