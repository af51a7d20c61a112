"""Codes of drums and of tones, and their decoding."""

import numpy as np
import torch

from demo.synth import Synthesiser
from demo.training import quantiser
from demo.training.quantiser import Quantiser
from demo.training.songs import codec_clips


def test_each_codebook_is_zero_outside_its_own_dimensions(teacher: Quantiser) -> None:
    owners = teacher.codebooks.abs().sum(1).reshape(quantiser.CODEBOOKS, quantiser.CODEBOOKS, -1).sum(-1)
    assert torch.equal(owners > 0, torch.eye(quantiser.CODEBOOKS, dtype=torch.bool))


def test_drum_codes_do_not_depend_on_chords(teacher: Quantiser) -> None:
    song = Synthesiser(snap=True).song(5, 8.0, bpm=120, style="rock", drums=True, beats_per_bar=4)
    drums = torch.from_numpy(song.stems["drums"])[None]
    codes = teacher.encode(teacher.latent(drums, torch.from_numpy(song.audio)[None] - drums))[0]
    bar, other = codes[:, 0:100], codes[:, 100:200]
    assert song.chords[0].label != song.chords[1].label
    alike = (bar == other).float().mean(1)
    assert alike[0] > 0.5
    assert alike[0] > 2 * alike[1:].max()


def test_decoded_latents_are_close_to_the_encoded_ones(teacher: Quantiser) -> None:
    latent = teacher.latent(*codec_clips(0, 4, 2.0))
    codes = teacher.encode(latent)
    assert codes.shape == (4, quantiser.CODEBOOKS, 100)
    assert (teacher.decode(codes) - latent).square().mean() < 0.3 * latent.square().mean()


def test_drum_codes_are_those_with_a_drum(teacher: Quantiser) -> None:
    song = Synthesiser(snap=True).song(5, 8.0, bpm=120, style="rock", drums=True, beats_per_bar=4)
    drums = torch.from_numpy(song.stems["drums"])[None]
    others = torch.from_numpy(song.audio)[None] - drums
    hits, none = (
        teacher.drum_codes()[teacher.encode(teacher.latent(part, others))[0, 0]]
        for part in (drums, torch.zeros_like(drums))
    )
    beats = torch.from_numpy(np.round(song.beats * 50).astype(int))
    assert hits[beats[beats < len(hits)]].float().mean() > 0.9
    assert not none.any()
