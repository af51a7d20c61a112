"""Trains the demo codec: fits the quantiser, then teaches an encoder its codes and a decoder to sound them.

python -m demo.training.train_codec FOLDER --steps 2500
"""

import argparse
import math
import time
from collections import deque
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from demo import measure
from demo.synth import seeds
from demo.training import losses, quantiser
from demo.training.codec import Codec, create
from demo.training.features import features
from demo.training.helpers import half_precision, save
from demo.training.quantiser import Quantiser
from demo.training.songs import codec_clips, language_song

BATCH, SECONDS = 6, 2.0
ENCODER_RATE, DECODER_RATE = 1.5e-3, 2e-3
WARM_UP = 30  # steps
ENCODING = 4.0  # weight of the encoder's distance from the teacher's latents
TUNING = 0.4  # share of the training in which the decoder mainly matches waveforms, before it matches spectra


def fit_quantiser(folder: Path, clips: int = 900) -> Quantiser:
    """The quantiser of `folder`, fitted first if there is none."""
    path = folder / "quantiser.pt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        frames = []
        for first in range(seeds.QUANTISER, seeds.QUANTISER + clips, 20):
            songs = [language_song(seed, 6.0) for seed in range(first, first + 10)]
            drums = torch.from_numpy(np.stack([song.stems["drums"] for song in songs]))
            audio = torch.from_numpy(np.stack([song.audio for song in songs]))
            frames += [features(*codec_clips(first, 10, 6.0)), features(drums, audio - drums)]
        torch.save(vars(quantiser.fit(torch.cat(frames).flatten(0, 1))), path)
    return Quantiser(**torch.load(path, weights_only=True))


def decoder_loss(codec: Codec, latent: Tensor, audio: Tensor, in_tune: bool) -> Tensor:
    """Waveform error first, until the decoder's tones are in tune, then mainly spectra. `latent` is quantised."""
    with half_precision(audio.device.type):
        decoded = codec.decoder(latent.transpose(1, 2))
    decoded = decoded.float()[:, 0, : audio.shape[-1]]
    error = (decoded - audio).square().mean() / audio.square().mean()
    if not in_tune:
        return 6 * error + 0.1 * losses.spectral(decoded, audio)
    return 0.5 * error + losses.spectral(decoded, audio) + 2 * losses.onsets(decoded, audio)


class Progress:
    """How well the codec does on held-back clips."""

    def __init__(self, teacher: Quantiser) -> None:
        drums, others = (part.to(teacher.mean.device) for part in codec_clips(seeds.HELD_BACK, 8, 6.0))
        self.clips = drums + others
        self.latent = teacher.latent(drums, others)
        self.teacher = teacher

    @torch.no_grad()
    def __call__(self, codec: Codec) -> dict[str, float | list[float]]:
        """Relative error of the latent, share of teacher's codes by codebook, and the round trip's likeness."""
        codec.eval()
        latent = codec.encoder(self.clips[:, None]).transpose(1, 2)
        codes, _ = codec.encode(self.clips[:, None])
        decoded = codec.decode(codes)[:, 0, : self.clips.shape[-1]]
        codec.train()
        pairs = list(zip(self.clips.cpu().numpy(), decoded.cpu().numpy(), strict=True))
        return {
            "latent error": round(float((latent - self.latent).square().mean() / self.latent.square().mean()), 3),
            "codes": [round(float(x), 3) for x in (codes == self.teacher.encode(self.latent)).float().mean((0, 2))],
            "waveform error": round(float((decoded - self.clips).square().mean() / self.clips.square().mean()), 3),
            "spectral": round(float(losses.spectral(decoded, self.clips)), 3),
            "chroma": round(float(np.mean([measure.chroma_cosine(a, b) for a, b in pairs])), 3),
            "onsets": round(float(np.mean([measure.onset_correlation(a, b) for a, b in pairs])), 3),
        }


def train(folder: Path, steps: int, device: str = "cpu", report_every: int = 50) -> Path:
    """Trains for `steps` steps, going on from `folder`'s checkpoint if there is one; returns the checkpoint's path."""
    torch.manual_seed(0)
    teacher = fit_quantiser(folder)
    codec = create(teacher, *codec_clips(0, 8, SECONDS)).train().to(device)
    teacher = teacher.to(device)
    lstm = next(module for module in codec.decoder.modules() if isinstance(module, nn.LSTM))
    for name, parameter in lstm.named_parameters():
        parameter.requires_grad_(not name.endswith("l0"))  # the oscillators stay as they are
    decoder = [parameter for parameter in codec.decoder.parameters() if parameter.requires_grad]
    encoder = list(codec.encoder.parameters())
    optimiser = torch.optim.AdamW(
        [{"params": encoder, "peak": ENCODER_RATE}, {"params": decoder, "peak": DECODER_RATE}],
        betas=(0.8, 0.99),
        weight_decay=0.0,
    )
    checkpoint, first = folder / "codec.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        codec.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["step"]
    progress, recent, began = Progress(teacher), deque[tuple[float, float]](maxlen=report_every), time.time()
    for step in range(first, steps):
        for group in optimiser.param_groups:
            cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
            group["lr"] = group["peak"] * min(1, (step + 1) / WARM_UP) * (0.02 + 0.98 * cosine)
        drums, others = (part.to(device) for part in codec_clips(step * BATCH, BATCH, SECONDS))
        audio, target = drums + others, teacher.latent(drums, others)
        with half_precision(device):
            latent = codec.encoder(audio[:, None])
        latent = latent.float().transpose(1, 2)
        encoding = (latent - target).square().mean()
        # A third of the batch as the language model will speak, the others as the encoder does. Once the decoder is in
        # tune, the encoder learns from what becomes of its codes, too (straight through: Bengio et al. 2013).
        drawn = torch.arange(BATCH, device=device)[:, None, None] % 3 == 0
        heard = torch.where(drawn, target, latent)
        with torch.no_grad():
            quantised = teacher.decode(teacher.encode(heard))
        in_tune = step / steps >= TUNING
        if in_tune:
            quantised = heard + (quantised - heard).detach()
        decoding = decoder_loss(codec, quantised, audio, in_tune)
        optimiser.zero_grad()
        torch.autograd.backward(ENCODING * encoding + decoding)
        torch.nn.utils.clip_grad_norm_(encoder, 1.0)
        torch.nn.utils.clip_grad_norm_(decoder, 1.0)
        optimiser.step()
        recent.append((float(encoding.detach()), float(decoding.detach())))
        if (step + 1) % report_every == 0 or step + 1 == steps:
            means = np.mean(recent, axis=0).round(3)
            print(
                f"step {step + 1}/{steps}  {time.time() - began:.0f} s  encoder {means[0]}  decoder {means[1]}",
                flush=True,
            )
        if (step + 1) % (4 * report_every) == 0 or step + 1 == steps:
            print(f"  held back: {progress(codec)}", flush=True)
            state = {"model": codec.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            save(checkpoint, state)
    return checkpoint


def main() -> None:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    train(arguments.folder, arguments.steps, arguments.device)


if __name__ == "__main__":
    main()
