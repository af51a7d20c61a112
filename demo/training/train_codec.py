"""Fits the quantiser, then trains the codec: encoder to the quantiser's latents, decoder from latents to audio."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from demo.synth import seeds
from demo.training import losses, quantiser
from demo.training.codec import Codec, create
from demo.training.evaluation import CodecEvaluation
from demo.training.features import features
from demo.training.files import load, save
from demo.training.optimisation import half_precision, learning_rate
from demo.training.progress import Progress
from demo.training.quantiser import Quantiser
from demo.training.recipe import Recipe
from demo.training.songs import codec_clips, language_song

BATCH, SECONDS = 6, 2.0  # set by hand, for steps of about a second on two cores
FITTED_SECONDS = 6.0
CLIPS_AT_ONCE = 10  # clips of either kind whose features are in memory at once
ENCODER_RATE, DECODER_RATE = 1.5e-3, 2e-3  # peaks, set by hand and not searched
BETAS = (0.8, 0.99)  # AdamW's, as usual for waveform decoders (HiFi-GAN, Kong et al. 2020)
WARM_UP = 30  # steps
LATENT_WEIGHT = 4.0  # of the encoder's distance from the teacher's latents, beside the decoder's loss
TUNING = 0.4
"""Share of the steps in which the decoder mainly matches waveforms, which is possible because the phases of songs'
tones advance like those of its oscillators. This tunes it; spectra and onsets, in the other steps, are closer to
perception."""
TEACHER_SHARE = 3
"""One clip in this many is decoded from the teacher's latents, as the language model will use the decoder, the others
from the encoder's, as a continuation or a round trip does."""
ONSET_WEIGHT = 2.0
"""Of the onset loss. A quarter of it left the onset correlation of round trips at 0.858; with it, and with its gradient
reaching the encoder, 1,500 more steps gave 0.915."""


def fit_quantiser(folder: Path, recipe: Recipe) -> Quantiser:
    """Load the quantiser of `folder`, or fit it to clips and songs, half of each, if there is none."""
    path = folder / "quantiser.pt"
    if not path.exists():
        frames = []
        for first in range(seeds.QUANTISER, seeds.QUANTISER + recipe.quantiser_clips, 2 * CLIPS_AT_ONCE):
            songs = [language_song(seed, FITTED_SECONDS) for seed in range(first, first + CLIPS_AT_ONCE)]
            drums = torch.from_numpy(np.stack([song.stems["drums"] for song in songs]))
            audio = torch.from_numpy(np.stack([song.audio for song in songs]))
            clips = codec_clips(first, CLIPS_AT_ONCE, FITTED_SECONDS)
            frames += [features(*clips), features(drums, audio - drums)]
        save(path, vars(quantiser.fit(torch.cat(frames).flatten(0, 1))))
    return Quantiser(**load(path))


def decoder_loss(codec: Codec, latent: Tensor, audio: Tensor, in_tune: bool) -> Tensor:
    """Waveform error until the decoder's tones are in tune, then mainly spectra. `latent` is quantised."""
    with half_precision(audio.device.type):
        decoded = codec.decoder(latent.transpose(1, 2))
    decoded = decoded.float()[:, 0, : audio.shape[-1]]
    error = (decoded - audio).square().mean() / audio.square().mean()
    if not in_tune:  # these weights and those below were set by hand, for terms of about the same size
        return 6 * error + 0.1 * losses.spectral_loss(decoded, audio)
    spectral, onsets = losses.spectral_loss(decoded, audio), losses.onset_loss(decoded, audio)
    return 0.5 * error + spectral + ONSET_WEIGHT * onsets


def step_losses(codec: Codec, teacher: Quantiser, step: int, in_tune: bool, device: str) -> tuple[Tensor, Tensor]:
    """The encoder's and the decoder's loss on the clips of a step."""
    drums, others = (part.to(device) for part in codec_clips(step * BATCH, BATCH, SECONDS))
    audio, target = drums + others, teacher.latent(drums, others)
    with half_precision(device):
        latent = codec.encoder(audio[:, None])
    latent = latent.float().transpose(1, 2)
    from_teacher = torch.arange(BATCH, device=device)[:, None, None] % TEACHER_SHARE == 0
    decoded_from = torch.where(from_teacher, target, latent)
    with torch.no_grad():
        quantised = teacher.decode(teacher.encode(decoded_from))
    if in_tune:  # the encoder also learns from the decoded codes (straight-through estimator: Bengio et al. 2013)
        quantised = decoded_from + (quantised - decoded_from).detach()
    return (latent - target).square().mean(), decoder_loss(codec, quantised, audio, in_tune)


def train(folder: Path, recipe: Recipe, device: str) -> None:
    """Train the codec of `folder` for `recipe.codec_steps` steps, resuming from its checkpoint if there is one."""
    steps, checkpoint = recipe.codec_steps, folder / "codec.pt"
    saved: dict[str, Any] = load(checkpoint) if checkpoint.exists() else {"step": 0}
    if saved["step"] >= steps:
        return
    torch.manual_seed(0)
    teacher = Quantiser(**load(folder / "quantiser.pt"))
    codec = create(teacher, *codec_clips(0, 8, SECONDS)).train().to(device)
    teacher = teacher.to(device)
    lstm = next(module for module in codec.decoder.modules() if isinstance(module, nn.LSTM))
    for name, parameter in lstm.named_parameters():
        parameter.requires_grad_(not name.endswith("l0"))  # the oscillators are not trained
    decoder = [parameter for parameter in codec.decoder.parameters() if parameter.requires_grad]
    encoder = list(codec.encoder.parameters())
    optimiser = torch.optim.AdamW(
        [{"params": encoder, "peak": ENCODER_RATE}, {"params": decoder, "peak": DECODER_RATE}],
        betas=BETAS,
        weight_decay=0.0,
    )
    if saved["step"]:
        codec.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
    evaluation = CodecEvaluation(teacher, min(recipe.evaluated_songs, 8))
    progress = Progress(saved["step"], steps, recipe.report_every, ("encoder", "decoder"))
    for step in range(saved["step"], steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(group["peak"], step, steps, WARM_UP)
        encoding, decoding = step_losses(codec, teacher, step, step / steps >= TUNING, device)
        optimiser.zero_grad()
        torch.autograd.backward(LATENT_WEIGHT * encoding + decoding)
        torch.nn.utils.clip_grad_norm_(encoder, 1.0)
        torch.nn.utils.clip_grad_norm_(decoder, 1.0)
        optimiser.step()
        progress.step(step + 1, [float(encoding.detach()), float(decoding.detach())])
        if (step + 1) % recipe.checkpoint_every == 0 or step + 1 == steps:
            state = {"model": codec.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            save(checkpoint, state)
            print(f"  on held-back clips: {evaluation(codec)}", flush=True)
