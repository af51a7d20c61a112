"""Trains the language model, and the T5 that encodes its text, on the quantiser's codes of new songs."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from demo.training import text_encoder
from demo.training.augmentation import corrupted_inputs
from demo.training.evaluation import ConditioningEvaluation
from demo.training.files import atomic_write, load, save
from demo.training.language_model import conditions, create, token_losses
from demo.training.optimisation import ReducedRate, learning_rate, update_average
from demo.training.progress import Progress
from demo.training.quantiser import Quantiser
from demo.training.recipe import Recipe
from demo.training.shards import BatchSampler, Shards, ShardWriter

PEAK_RATE = 1.2e-3  # set by hand and not searched, as are the next two
BETAS, WEIGHT_DECAY = (0.9, 0.95), 0.05
WARM_UP = 60  # steps
INITIALISED_RATE = 0.03
"""Fraction of the learning rate for T5 and the weights set by `rhythm_init`. At 0.3 the tempo was forgotten within 75
steps; at 0.03 the cost of a wrong tempo keeps growing."""
AVERAGING = 0.998  # decay of the averaged weights that are exported: the mean of about the last 500 steps
OPENING_WEIGHT = 5.0
"""Weight of a clip's first second in the loss. Without this and without corrupted inputs, a wrong key cost half a nat
in the first second; with both, 4 to 5."""
LOSS_WEIGHTS = (0.4, 0.2, 0.2, 0.2, 3.0)
"""Weights of the codebooks and of hits. Drums determine the tempo, so theirs counts double; hits count most, as a
single extra hit is audible."""
GUIDED_WEIGHT = 0.25
"""Weight of the losses of guided predictions, which are computed on one clip of a batch. In songs without drums,
guidance made hits 2.6 % of all frames from 0.9 %; 400 steps of this left 0.03 %."""


def training_loss(
    lm: Any, sampler: BatchSampler, step: int, drum_codes: Tensor, silence: Tensor
) -> tuple[Tensor, Tensor]:
    """The training loss of a step, and the `token_losses` it consists of."""
    codes, captions, melodies = sampler.batch(step)
    codes = codes.to(drum_codes.device)
    # The first clip is repeated without conditions, for the guided prediction.
    tensors = conditions(lm, [*captions, None], [*melodies, None])
    inputs = corrupted_inputs(codes, captions, silence, step)
    codes, inputs = (torch.cat([clips, clips[:1]]) for clips in (codes, inputs))
    each = token_losses(lm, codes, tensors, drum_codes, OPENING_WEIGHT, inputs)
    weights = torch.tensor([[1.0], [GUIDED_WEIGHT]], device=each.device)
    weights = weights * torch.tensor(LOSS_WEIGHTS, device=each.device)
    return (weights * each).sum(), each.detach()


def train(folder: Path, recipe: Recipe, device: str) -> None:
    """Train the language model of `folder`, resuming from its checkpoint if there is one.

    The folder contains the quantiser; a separate process writes the songs' shards there.
    """
    steps, checkpoint = recipe.language_model_steps, folder / "language_model.pt"
    saved: dict[str, Any] = load(checkpoint) if checkpoint.exists() else {"step": 0}
    if saved["step"] >= steps:
        return
    torch.manual_seed(0)
    quantiser = Quantiser(**load(folder / "quantiser.pt"))
    if not (folder / "t5").exists():
        with atomic_write(folder / "t5") as encoder:
            text_encoder.write_tokenizer(encoder)
            text_encoder.write_encoder(encoder)
    lm, masks = create(folder / "t5")
    conditioners = lm.condition_provider.conditioners
    chroma = deepcopy(conditioners["self_wav"].chroma)  # stays on the CPU, where songs are synthesised
    lm = lm.to(device).train()
    conditioners["description"].device = device  # where its tokens go
    reduced_rate = ReducedRate(lm, masks, INITIALISED_RATE)
    optimiser = torch.optim.AdamW(lm.parameters(), lr=PEAK_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY)
    average = {name: value.detach().clone() for name, value in lm.state_dict().items()}
    if saved["step"]:
        lm.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        average = saved["average"]
    evaluation = ConditioningEvaluation(quantiser, chroma, recipe.evaluated_songs)
    drum_codes, silence = quantiser.drum_codes().to(device), quantiser.silence_codes().to(device)
    labels = tuple(f"{row}{name}" for row in ("", "guided ") for name in ("drums", "low", "mid", "high", "hits"))
    progress = Progress(saved["step"], steps, recipe.report_every, labels)
    shards = Shards(folder / "shards", recipe.shards, recipe.shard_songs)
    with ShardWriter(shards, quantiser, chroma) as writer:
        sampler = BatchSampler(shards, writer)
        for step in range(saved["step"], steps):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(PEAK_RATE, step, steps, WARM_UP)
            loss, each = training_loss(lm, sampler, step, drum_codes, silence)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(lm.parameters(), 1.0)
            reduced_rate.step(optimiser)
            # A shorter average at first, so that the initial weights are soon averaged out.
            update_average(average, lm, min(AVERAGING, (step + 1) / (step + 20)))
            progress.step(step + 1, each.flatten().cpu())
            if (step + 1) % recipe.checkpoint_every == 0 or step + 1 == steps:
                state = {"model": lm.state_dict(), "optimiser": optimiser.state_dict(), "average": average}
                save(checkpoint, state | {"step": step + 1})
                print(f"  on held-back songs: {evaluation(lm)}", flush=True)
