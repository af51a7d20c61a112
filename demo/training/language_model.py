"""The demo language model: audiocraft's LMModel, conditioned as its melody checkpoints are."""

from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional

from demo.training import configs
from demo.training.optimisation import half_precision
from demo.training.quantiser import CODEBOOK_SIZE, CODEBOOKS
from demo.training.rhythm_init import initialise_rhythm
from musicgen_service.models.audiocraft_adapter import build_lm

SECONDS = 20  # the longest clip generated at once: longer ones are not trained on, so later positions are unknown
WIDTH, HEADS, LAYERS = 320, 8, 4
"""As large as a checkpoint of 20 MB with the codec allows."""
GUIDANCE_SCALE = 3.0  # audiocraft's default
OPENING_FRAMES = 50
"""The first second, which only the prompt determines; later frames mostly continue earlier ones."""


def config(text_encoder: str, finetune: bool) -> DictConfig:
    """`xp.cfg` of the demo language model.

    Parameters
    ----------
    text_encoder : the T5's folder; "t5" for the subfolder of the exported checkpoint
    finetune : whether T5 is trained too, and so belongs to the model's parameters
    """
    return configs.language_model(
        {
            "channels": 1,
            "compression_model_checkpoint": "compression_state_dict.bin",
            "interleave_stereo_codebooks": {"use": False, "per_timestep": False},
            "dataset": {"segment_duration": SECONDS},
            "codebooks_pattern": {"delay": {"delays": list(range(CODEBOOKS))}},
            "transformer_lm": {
                "dim": WIDTH,
                "num_heads": HEADS,
                "num_layers": LAYERS,
                "n_q": CODEBOOKS,
                "card": CODEBOOK_SIZE,
            },
            "classifier_free_guidance": {"training_dropout": 0.0, "inference_coef": GUIDANCE_SCALE},
            "attribute_dropout": {"args": {"active_on_eval": False}, "text": {}, "wav": {"self_wav": 0.0}},
            "fuser": {"prepend": ["self_wav", "description"]},
            "conditioners": {
                "self_wav": configs.chroma(match_length=True),
                "description": {
                    "model": "t5",
                    "t5": {"name": text_encoder, "finetune": finetune, "word_dropout": 0.0, "normalize_text": False},
                },
            },
        }
    )


def create(text_encoder: Path) -> tuple[Any, dict[str, Tensor]]:
    """Create a model with T5 among its parameters; also returns the masks of `initialise_rhythm`."""
    lm = build_lm(config(str(text_encoder), finetune=True))
    return lm, initialise_rhythm(lm)


def _null_melody(steps: int) -> Tensor:
    """The melody prefix without a melody: the chroma of silence, whose maximum is the first bin."""
    return torch.zeros(steps, dtype=torch.long)


def conditions(lm: Any, captions: list[str | None], melodies: list[Tensor | None]) -> dict[str, Any]:
    """Condition tensors for training: captions, and pitch classes ``[steps]`` repeated to fill the prefix."""
    provider = lm.condition_provider.conditioners
    length = provider["self_wav"].chroma_len
    device = lm.emb[0].weight.device
    prefix = torch.stack(
        [_null_melody(length) if m is None else m.long().repeat(-(-length // len(m)))[:length] for m in melodies]
    )
    one_hot = functional.one_hot(prefix, 12).float().to(device)
    melody = provider["self_wav"].output_proj(one_hot)
    description = provider["description"](provider["description"].tokenize(captions))
    return {"description": description, "self_wav": (melody, torch.ones_like(melody[..., 0]))}


def token_losses(
    lm: Any,
    codes: Tensor,
    tensors: dict[str, Any],
    drum_codes: Tensor,
    opening_weight: float = 1.0,
    inputs: Tensor | None = None,
) -> Tensor:
    """Cross-entropies in nats, of each codebook and of whether a drum sounds: ``[2, CODEBOOKS + 1]``.

    Whether a drum sounds is a separate loss, since an extra hit is audible, and a confusion of quiet codes is not.

    The first row is for the predictions, the second for the guided predictions used in sampling: it is computed on the
    first clip, if the last one is its copy without conditions. Guidance amplifies the difference of two predictions,
    even for codes that both consider unlikely, so they have to be trained together.

    Parameters
    ----------
    codes : the targets, ``[batch, CODEBOOKS, frames]``
    drum_codes : mask of the first codebook's codes that contain a drum, bool ``[CODEBOOK_SIZE]``
    opening_weight : weight of the first OPENING_FRAMES
    inputs : the inputs to predict the targets from, if not `codes` themselves
    """
    with half_precision(codes.device.type):
        output = lm.compute_predictions(codes if inputs is None else inputs, [], tensors)
    logits = output.logits.float()
    conditional, unconditional = logits[:1], logits[-1:]
    guided = unconditional + GUIDANCE_SCALE * (conditional - unconditional)
    # Logits of frames that a codebook's delay has not reached are NaN; the mask leaves them out.
    mask = torch.cat([output.mask, output.mask[:, :1]], dim=1).float()
    mask[..., :OPENING_FRAMES] *= opening_weight

    def means(scores: Tensor) -> Tensor:
        clips = slice(len(scores))
        each = torch.nan_to_num(_cross_entropies(scores, codes[clips], drum_codes))
        return (each * mask[clips]).sum((0, 2)) / mask[clips].sum((0, 2))

    return torch.stack([means(logits), means(guided)])


def _cross_entropies(logits: Tensor, codes: Tensor, drum_codes: Tensor) -> Tensor:
    """Cross-entropy of every code, and of whether a drum sounds, ``[batch, CODEBOOKS + 1, frames]``."""
    scores = logits.log_softmax(-1)
    each = -scores.gather(-1, codes[..., None])[..., 0]
    first = scores[:, 0]
    hit, none = first[..., drum_codes].logsumexp(-1), first[..., ~drum_codes].logsumexp(-1)
    return torch.cat([each, -torch.where(drum_codes[codes[:, 0]], hit, none)[:, None]], dim=1)
